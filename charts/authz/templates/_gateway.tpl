{{/* What templates and notes say about Envoy Gateway. */}}

{{/* authz.gateway.hostname (root): what the service's certificate must name. */}}
{{- define "authz.gateway.hostname" -}}
{{- .Values.gateway.tls.hostname | default (printf "%s.%s.svc" (include "authz.fullname" .) .Release.Namespace) -}}
{{- end -}}

{{/* authz.gateway.places (root): JSON dict of namespace -> names of the Gateways there that are judged. */}}
{{- define "authz.gateway.places" -}}
{{- $places := dict -}}
{{- range .Values.gateway.gateways -}}
{{- $_ := set $places .namespace (append (get $places .namespace | default list) .name | uniq) -}}
{{- end -}}
{{- $places | toJson -}}
{{- end -}}

{{/* authz.gateway.targets (list of names): the same as `targetRefs`. */}}
{{- define "authz.gateway.targets" -}}
{{- range . }}
- group: gateway.networking.k8s.io
  kind: Gateway
  name: {{ . }}
{{- end }}
{{- end -}}

{{/* authz.gateway.settings (root): JSON dict of what the service is told because Envoy Gateway asks. It has appended
     its peer to `x-forwarded-for` before it asks. */}}
{{- define "authz.gateway.settings" -}}
{{- $told := dict "AUTHZ_XFF_APPENDED" "true" -}}
{{- with .Values.gateway.contextExtensions -}}
{{- $_ := set $told "AUTHZ_CONTEXT" (keys . | sortAlpha | join ",") -}}
{{- end -}}
{{- $told | toJson -}}
{{- end -}}

{{/* authz.gateway.notes (root): what is left to do. */}}
{{- define "authz.gateway.notes" -}}
{{- if eq .Values.envoy "gateway" -}}
Each Gateway must show the service a certificate. Put this into its spec, or the two lines below `backendTLS` of
{{ include "authz.fullname" . }} into the EnvoyProxy that it has:

infrastructure:
  parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: {{ include "authz.fullname" . }}}

Until then every request gets 503. A policy that was there before the guard may take the place of ours; look:

  kubectl get securitypolicies --all-namespaces

How to see that it fails closed: docs/envoy-gateway.md.
{{- end -}}
{{- end -}}
