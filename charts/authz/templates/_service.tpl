{{/* authz.service.settings (root): the environment of `authz serve` in the service, as a list. */}}
{{- define "authz.service.settings" -}}
{{- $directories := list -}}
{{- $git := .Values.policies.git -}}
{{- $top := $git.enabled | ternary (list "/etc/authz/policies/current" (trimAll "/" $git.path) | compact | join "/") "/etc/authz/policies" -}}
{{- range $name, $_ := include "authz.policySets" . | fromJson -}}
{{- $directories = append $directories (printf "%s/%s" $top $name) -}}
{{- end -}}
{{- $said := dict
      "AUTHZ_POLICIES" (join "," $directories)
      "AUTHZ_LISTEN" (printf "0.0.0.0:%d" (int .Values.service.port))
      "AUTHZ_OPS" "0.0.0.0:9192"
      "AUTHZ_STATE" "/var/lib/authz/state"
      "AUTHZ_TLS_CERT" "/etc/authz/tls/tls.crt"
      "AUTHZ_TLS_KEY" "/etc/authz/tls/tls.key"
      "AUTHZ_TLS_CLIENT_CA" "/etc/authz/tls/ca.crt"
      "AUTHZ_TLS_CLIENTS" (join "," .Values.service.tls.clients)
      "AUTHZ_TRUSTED_HOPS" (.Values.sidecar.trustedHops | int | toString)
      "AUTHZ_FLEET_SIZE" (.Values.sidecar.fleetSize | default .Values.service.replicas | int | toString)
      "LOG_LEVEL" .Values.sidecar.logLevel -}}
{{- with .Values.sidecar.hosts -}}
{{- $_ := set $said "AUTHZ_HOSTS" (join "," .) -}}
{{- end -}}
{{- if include "authz.secretNames" . | fromJsonArray -}}
{{- $_ := set $said "AUTHZ_SECRETS" "/etc/authz/secrets" -}}
{{- end -}}
{{- if eq .Values.envoy "gateway" -}}
{{- $said = merge $said (include "authz.gateway.settings" . | fromJson) -}}
{{- end -}}
{{- range $name, $value := .Values.sidecar.settings -}}
{{- $_ := set $said $name (toString $value) -}}
{{- end -}}
{{- $list := list -}}
{{- range $name, $value := $said -}}
{{- $list = append $list (dict "name" $name "value" $value) -}}
{{- end -}}
{{- $list | toYaml -}}
{{- end -}}

{{/* authz.service.git (root): the volumes of git-sync's container, which is that of injected pods. */}}
{{- define "authz.service.git" -}}
- name: authz-policies
  emptyDir: {sizeLimit: 1Gi}
- name: authz-git-tmp
  emptyDir: {sizeLimit: 64Mi}
- name: authz-none
  emptyDir: {sizeLimit: 1Mi}
{{- with .Values.policies.git.existingSecret }}
- name: authz-git-secret
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- end -}}
