{{/* What the webhook and the watch have in common. */}}

{{/* authz.watch.everywhere (root): "true" where pods of every namespace are counted. */}}
{{- define "authz.watch.everywhere" -}}
{{- if .Values.watch.everywhere -}}true{{- end -}}
{{- end -}}

{{/* authz.watch.where (root): flags that say where labelled pods are counted. */}}
{{- define "authz.watch.where" -}}
{{- if include "authz.watch.everywhere" . -}}
- --watch=*
{{- else -}}
{{- range $index, $namespace := include "authz.namespaces" . | fromJsonArray }}
{{- if $index }}
{{ end -}}
- --watch={{ $namespace }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* authz.watch.rights (dict "root" $ "labels" L "name" "..."): a service account that may list pods. */}}
{{- define "authz.watch.rights" -}}
{{- $root := .root -}}
{{- $everywhere := include "authz.watch.everywhere" $root -}}
{{- $kind := ternary "ClusterRole" "Role" (eq $everywhere "true") -}}
{{- $name := ternary (include "authz.clusterName" (dict "root" $root "suffix" "watch")) (printf "%s-watch" (include "authz.fullname" $root)) (eq $everywhere "true") -}}
{{- range ternary (list "") (include "authz.namespaces" $root | fromJsonArray) (eq $everywhere "true") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "authz.labels" $.labels | nindent 4 }}
rules:
  - apiGroups: [""]
    resources: [pods]
    verbs: [list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "authz.labels" $.labels | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: {{ $kind }}, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: {{ $.name }}, namespace: {{ $root.Release.Namespace }}}
{{- end }}
{{- end -}}

{{/* authz.watch.probes (root): of a container that has its operators' door at `authz-ops`. */}}
{{- define "authz.watch.probes" -}}
startupProbe:
  httpGet: {path: /health, port: authz-ops}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /health, port: authz-ops}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /ready, port: authz-ops}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}

{{/* authz.watch.monitor (dict "root" $ "labels" L "name" "..."): has the Prometheus operator scrape it. Its job is
     not that of sidecars: alerts speak about those of one job together. */}}
{{- define "authz.watch.monitor" -}}
{{- with .root.Values.monitoring.podMonitor }}
{{- if .enabled }}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ $.name }}
  namespace: {{ $.root.Release.Namespace }}
  labels:
    {{- include "authz.labels" $.labels | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  jobLabel: app.kubernetes.io/component
  selector:
    matchLabels:
      {{- include "authz.selectorLabels" $.labels | nindent 6 }}
  podMetricsEndpoints:
    - port: authz-ops
      path: /metrics
      interval: {{ .interval }}
{{- end }}
{{- end }}
{{- end -}}
