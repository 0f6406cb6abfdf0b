{{/* The nouns that every template uses. Each says what it takes; lists and dicts come back as JSON. */}}

{{/* authz.fullname (root): begins every name. 40 characters, so that the longest suffix fits into 63. */}}
{{- define "authz.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* authz.clusterName (dict "root" $ "suffix" "guard"): the name of a cluster-scoped object. The namespace is part
     of it, so that releases of one name in two namespaces do not fight over one object. */}}
{{- define "authz.clusterName" -}}
{{- printf "%s-%s.%s" (include "authz.fullname" .root) .suffix .root.Release.Namespace -}}
{{- end -}}

{{- define "authz.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* authz.labels (dict "root" $ "component" "guard"): what every object of ours carries. */}}
{{- define "authz.labels" -}}
{{ include "authz.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: authz
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ include "authz.chart" .root }}
{{- end -}}

{{/* authz.selectorLabels (dict "root" $ "component" "service"): those that never change between versions. */}}
{{- define "authz.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* authz.image (root): our image, by digest where one is given. */}}
{{- define "authz.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ printf "%s@%s" .repository .digest }}
{{- else -}}
{{ printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* authz.namespaces (root): JSON list of the namespaces served, each once, in the order given. The service reads
     policies and Secrets where it runs itself. */}}
{{- define "authz.namespaces" -}}
{{- $home := list .Release.Namespace -}}
{{- eq .Values.deployment "service" | ternary $home (.Values.namespaces | default $home | uniq) | toJson -}}
{{- end -}}

{{/* authz.policySets (root): JSON dict of set name -> name of its ConfigMap in each served namespace. */}}
{{- define "authz.policySets" -}}
{{- $sets := dict -}}
{{- range $name, $set := .Values.policies.sets -}}
{{- $ours := printf "%s-policies-%s" (include "authz.fullname" $) $name -}}
{{- $_ := set $sets $name (default $ours ($set).existingConfigMap) -}}
{{- end -}}
{{- if include "authz.tests" . -}}
{{- $_ := set $sets "helm-test" (printf "%s-policies-helm-test" (include "authz.fullname" .)) -}}
{{- end -}}
{{- $sets | toJson -}}
{{- end -}}

{{/* authz.keysSecret (root): the Secret with API_KEY_SALT in each served namespace; empty: none. */}}
{{- define "authz.keysSecret" -}}
{{- if .Values.keys.existingSecret -}}
{{ .Values.keys.existingSecret }}
{{- else if .Values.keys.pepper -}}
{{ include "authz.fullname" . }}-keys
{{- end -}}
{{- end -}}

{{/* authz.redisSecret (root): the Secret with REDIS_URL in each served namespace; empty: none. */}}
{{- define "authz.redisSecret" -}}
{{- if .Values.redis.existingSecret -}}
{{ .Values.redis.existingSecret }}
{{- else if or .Values.redis.url .Values.redis.development.enabled -}}
{{ include "authz.fullname" . }}-redis
{{- end -}}
{{- end -}}

{{/* authz.secretNames (root): JSON list of the Secrets whose keys become the files of /etc/authz/secrets. */}}
{{- define "authz.secretNames" -}}
{{- $ours := list (include "authz.keysSecret" .) (include "authz.redisSecret" .) -}}
{{- concat $ours .Values.extraSecrets | compact | uniq | toJson -}}
{{- end -}}

{{/* authz.containerSecurity: what each container of ours may do: nothing but run. */}}
{{- define "authz.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* authz.podSecurity: the same for pods that are ours from top to bottom. */}}
{{- define "authz.podSecurity" -}}
fsGroup: 65532
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* authz.pullSecrets (root): `imagePullSecrets` of a pod of ours, or nothing. */}}
{{- define "authz.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* authz.injects (root): "true" where pods of this release have a sidecar, whoever puts it there: with
     `injection: none` that is `authz inject`, which reads the same ConfigMap and is held to the same guard. */}}
{{- define "authz.injects" -}}
{{- if eq .Values.deployment "sidecar" -}}true{{- end -}}
{{- end -}}

{{/* authz.atLeast (dict "root" $ "version" "1.36"): "true" where the cluster is of that version or newer. A
     vendor's or a developer's suffix (`v1.36.2-gke.1`, `v1.36.0-rc.1`) does not count against it. */}}
{{- define "authz.atLeast" -}}
{{- $found := regexReplaceAll "[-+].*$" .root.Capabilities.KubeVersion.Version "" -}}
{{- if semverCompare (printf ">=%s.0" .version) $found -}}true{{- end -}}
{{- end -}}

{{/* authz.managed (root): "true" where each pod has an Envoy of ours. */}}
{{- define "authz.managed" -}}
{{- if and (eq .Values.deployment "sidecar") (eq .Values.envoy "managed") -}}true{{- end -}}
{{- end -}}

{{/* authz.tests (root): "true" where `helm test` can try an injected pod. It needs policies of its own, which Git
     does not have; and a pod that ends, which is native sidecars' doing. */}}
{{- define "authz.tests" -}}
{{- $could := and .Values.test.enabled .Values.sidecar.native (not .Values.policies.git.enabled) -}}
{{- if and $could (ne .Values.injection "none") (include "authz.managed" .) -}}true{{- end -}}
{{- end -}}

{{/* authz.testNamespace (root): where the pod of `helm test` runs: at home, where home is served. */}}
{{- define "authz.testNamespace" -}}
{{- $served := include "authz.namespaces" . | fromJsonArray -}}
{{- if has .Release.Namespace $served -}}{{ .Release.Namespace }}{{- else -}}{{ first $served }}{{- end -}}
{{- end -}}

{{/* authz.listenPorts (root): JSON list of the ports at which an Envoy of ours may listen. Where network policies
     are rendered they name each as a number, since not every network plug-in finds the named ports of init
     containers; so a pod may choose among these alone. Empty: any port. */}}
{{- define "authz.listenPorts" -}}
{{- $ports := list -}}
{{- if .Values.networkPolicy.enabled -}}
{{- range concat (list .Values.sidecar.listenPort) .Values.networkPolicy.listenPorts -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}
