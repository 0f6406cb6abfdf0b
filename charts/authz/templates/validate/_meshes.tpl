{{/* The same for meshes and gateways. */}}

{{/* authz.refuse.istio (root): a provider that no mesh would take, or more sidecars than it can ask. */}}
{{- define "authz.refuse.istio" -}}
{{- if and (eq .Values.envoy "istio") (not (regexMatch "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" .Values.istio.provider)) -}}
{{- fail (printf "`istio.provider` is %q, which a mesh does not take for a name: a-z, 0-9 and -, at most 63" .Values.istio.provider) -}}
{{- end -}}
{{- $workers := .Values.sidecar.workers | default 1 | int -}}
{{- if and (eq .Values.envoy "istio") (gt $workers 1) -}}
{{- fail (printf "`sidecar.workers` is %d, and a mesh asks at one address in each pod, where one answers; set 1, and give it more CPU" $workers) -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.gateway (root): values that leave a Gateway without us, or ask in vain. */}}
{{- define "authz.refuse.gateway" -}}
{{- if eq .Values.envoy "gateway" -}}
{{- with .Values.gateway -}}
{{- if not .gateways -}}
{{- fail "`gateway.gateways` is empty, so nothing would ask the service; set each Gateway's name and namespace" -}}
{{- end -}}
{{- if not .tls.clientSecret -}}
{{- fail "`gateway.tls.clientSecret` is empty, and the service answers only to those who show a certificate; set the name of a Secret with tls.crt and tls.key in each Gateway's namespace" -}}
{{- end -}}
{{- range $name, $text := .contextExtensions -}}
{{- if or (not (regexMatch "^[A-Za-z0-9_.-]{1,128}$" $name)) (not $text) -}}
{{- fail (printf "`gateway.contextExtensions` has %q, which no rule could read; give it a name of letters, digits, _ . and -, and a text" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
