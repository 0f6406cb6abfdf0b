{{/* authz.service.settings (root): the environment of `authz serve` in the service, as a list. */}}
{{- define "authz.service.settings" -}}
{{- $directories := list -}}
{{- range $name, $_ := include "authz.policySets" . | fromJson -}}
{{- $directories = append $directories (printf "/etc/authz/policies/%s" $name) -}}
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
{{- range $name, $value := .Values.sidecar.settings -}}
{{- $_ := set $said $name (toString $value) -}}
{{- end -}}
{{- range $name, $value := $said }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}
