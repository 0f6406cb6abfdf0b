{{/* What templates and notes say about a mesh of Istio. */}}

{{/* authz.istio.host (root): the name under which the mesh knows the sidecar of each pod. Not below `.local`, where
     meshes have rules for everything that speaks mTLS; the sidecar on the loopback does not. */}}
{{- define "authz.istio.host" -}}
{{ include "authz.fullname" . }}.{{ .Release.Namespace }}.authz.internal
{{- end -}}

{{/* authz.istio.openPorts (root): the variable that keeps the probes of the sidecar out of the mesh. The mesh would
     ask the sidecar about its own probes, which carry no credential, and STRICT refuses the kubelet. Where Istio's CNI
     is used it writes its own ports to ours, in the same annotation. */}}
{{- define "authz.istio.openPorts" -}}
{{- $ports := list "9192" "15020" "15021" "15090" -}}
{{- range .Values.istio.openPorts }}{{ $ports = append $ports (int . | toString) }}{{ end -}}
{{- $any := printf "(%s)" (join "|" $ports) -}}
openPorts:
  annotation: traffic.sidecar.istio.io/excludeInboundPorts
  default: "9192"
  pattern: {{ printf "^(%s,)*9192(,%s)*$" $any $any | squote }}
  message: "the ports that go past the mesh, with commas and no spaces: 9192, where the sidecar is probed, and of others those in the value istio.openPorts alone"
{{- end -}}

{{/* authz.istio.mesh (root): what the mesh's own configuration must say. Durations are those of protobuf: 0.200s. */}}
{{- define "authz.istio.mesh" -}}
{{- $ms := int .Values.istio.timeoutMs -}}
meshConfig:
  pathNormalization:
    normalization: MERGE_SLASHES
  extensionProviders:
    - name: {{ .Values.istio.provider }}
      envoyExtAuthzGrpc:
        service: {{ .Release.Namespace }}/{{ include "authz.istio.host" . }}
        port: 9191
        timeout: {{ printf "%d.%03ds" (div $ms 1000) (mod $ms 1000) }}
        failOpen: false
        statusOnError: "503"
        {{- with int .Values.istio.bodyBytes }}
        includeRequestBodyInCheck:
          maxRequestBytes: {{ . }}
          allowPartialMessage: false
          packAsBytes: true
        {{- end }}
{{- end -}}

{{/* authz.istio.notes (root): the same with the words around it. */}}
{{- define "authz.istio.notes" -}}
{{- if eq .Values.envoy "istio" -}}
Until the mesh knows the provider {{ .Values.istio.provider | quote }}, it refuses every request to pods with a sidecar.
Put this into the mesh's own configuration (IstioOperator, or the values of the chart istiod):

{{ include "authz.istio.mesh" . }}

`timeout` is ten minutes where nobody says it. How to see that it fails closed: docs/istio.md.
{{- end -}}
{{- end -}}

{{/* authz.istio.probed (CEL of a container's field, whose name is `k`): whether it is a probe that Istio leads through
     its own Envoy, as it does with every container's. SECURITY: nothing but the address may have changed, or a probe
     could run a command among the sidecar's secrets. */}}
{{- define "authz.istio.probed" -}}
k in ["startupProbe", "livenessProbe", "readinessProbe"] && has({{ . }}.httpGet) && !has({{ . }}.exec) && {{ . }}.httpGet.port == 15020 && {{ . }}.httpGet.path.startsWith("/app-health/authz/") && !has({{ . }}.httpGet.host)
{{- end -}}
