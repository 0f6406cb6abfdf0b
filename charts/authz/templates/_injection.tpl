{{/* What injection puts into a pod, told once. Three readers make the same pod of it: the admission policy (_cel.tpl
     writes it as CEL), the webhook and `authz inject` (they read the ConfigMap). In `pod`, `${name}` is the text of a
     variable, and a string that is `${int:name}` from end to end becomes a number.

     INVARIANT: every field that the API server would fill in by default stands here (`protocol: TCP`,
     `successThreshold: 1`): the guard compares what is stored with what is written, field by field. */}}

{{/* authz.injection (root): the whole description, as JSON. */}}
{{- define "authz.injection" -}}
{{- $pod := include "authz.injection.pod" . | fromYaml -}}
{{- $status := $pod | toJson | sha256sum | trunc 16 -}}
{{- $annotations := dict "sidecar.authz/status" $status -}}
{{- if eq .Values.envoy "istio" -}}
{{- $_ := set $annotations "traffic.sidecar.istio.io/excludeInboundPorts" "${openPorts}" -}}
{{- end -}}
{{- $_ := set $pod "metadata" (dict "annotations" $annotations) -}}
{{- $told := dict "version" 1 "label" "sidecar.authz/inject" "pod" $pod -}}
{{- $_ := set $told "variables" (include "authz.injection.variables" . | fromYaml) -}}
{{- if eq .Values.envoy "managed" -}}
{{- $_ := set $told "service" (dict "targetPort" "authz-http" "annotation" "sidecar.authz/service-port") -}}
{{- end -}}
{{- if not .Values.guard.exact }}{{ $_ := set $told "exact" false }}{{ end -}}
{{- $told | toJson -}}
{{- end -}}

{{/* authz.injection.variables (root): what differs from pod to pod. Two may share an annotation: an amount of memory
     is request and limit at once, while their defaults differ. */}}
{{- define "authz.injection.variables" -}}
{{- $port := "^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$" -}}
{{- $label := "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?" -}}
{{- $host := printf "(\\*\\.)?%s(\\.%s)*\\.?|\\[[0-9A-Fa-f:.]+\\]" $label $label -}}
hosts:
  annotation: sidecar.authz/hosts
  default: {{ .Values.sidecar.hosts | join "," | quote }}
  pattern: {{ printf "^(\\*|(%s)(,(%s))*)$" $host $host | toJson }}
  message: "the hosts that the application serves, as clients write them, with commas and no spaces, such as items.example.com,*.items.example.com; or * for every host"
policies:
  annotation: sidecar.authz/policies
  default: default
  choices: {{ include "authz.injection.sets" . }}
  message: "the name of a policy set of this release, one of {{ .Values.policies.sets | keys | sortAlpha | join ", " }}"
trustedHops:
  annotation: sidecar.authz/trusted-hops
  default: {{ .Values.sidecar.trustedHops | toString | quote }}
  pattern: '^([0-9]|1[0-6])$'
  message: "how many proxies of yours stand before this pod, 0 to 16"
{{- if eq .Values.envoy "istio" }}
{{ include "authz.istio.openPorts" . }}
{{- end }}
{{- if eq .Values.envoy "managed" }}
port:
  annotation: sidecar.authz/port
  default: {{ .Values.sidecar.port | toString | quote }}
  pattern: {{ $port | toJson }}
  message: "the port at which the application listens, 1 to 65535"
listenPort:
  annotation: sidecar.authz/listen-port
  default: {{ .Values.sidecar.listenPort | toString | quote }}
  {{- with include "authz.listenPorts" . | fromJsonArray }}
  pattern: '^({{ join "|" . }})$'
  message: "a port of Envoy's that the network policy opens: {{ join " or " . }}; others go into networkPolicy.listenPorts"
  {{- else }}
  pattern: {{ $port | toJson }}
  message: "the port at which the pod's Envoy listens, 1 to 65535"
  {{- end }}
{{ include "authz.injection.amounts" (dict "resources" .Values.envoyProxy.resources "name" "envoy" "prefix" "envoy-") }}
{{- end }}
{{ include "authz.injection.amounts" (dict "resources" .Values.sidecar.resources "name" "authz" "prefix" "") }}
{{- end -}}

{{/* authz.injection.sets (root): JSON dict of set name -> what `${policies}` becomes: a ConfigMap, or with Git a
     directory. */}}
{{- define "authz.injection.sets" -}}
{{- if .Values.policies.git.enabled -}}
{{- $sets := dict -}}
{{- range $name, $_ := .Values.policies.sets }}{{ $_ := set $sets $name $name }}{{ end -}}
{{- $sets | toJson -}}
{{- else -}}
{{- include "authz.policySets" . -}}
{{- end -}}
{{- end -}}

{{/* authz.injection.amounts (dict "resources" R "name" "envoy" "prefix" "envoy-"): variables for a container's CPU and
     memory, as many as the values set: envoyRequestsCpu, envoyLimitsMemory. */}}
{{- define "authz.injection.amounts" -}}
{{- range $kind := list "requests" "limits" }}
{{- range $what := list "cpu" "memory" }}
{{- with dig $kind $what "" ($.resources | default dict) }}
{{ printf "%s%s%s" $.name (title $kind) (title $what) }}:
  annotation: sidecar.authz/{{ $.prefix }}{{ $what }}
  default: {{ . | toString | quote }}
  {{- if eq $what "cpu" }}
  pattern: '^[0-9]{1,4}(m|\.[0-9]{1,3})?$'
  message: "an amount of CPU such as 100m or 0.5"
  {{- else }}
  pattern: '^[0-9]{1,12}(\.[0-9]{1,3})?(k|M|G|Ki|Mi|Gi)?$'
  message: "an amount of memory such as 128Mi"
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* authz.injection.resources (dict "resources" R "name" "envoy"): JSON of the same with variables in it. */}}
{{- define "authz.injection.resources" -}}
{{- $resources := deepCopy (.resources | default dict) -}}
{{- range $kind := list "requests" "limits" -}}
{{- range $what := list "cpu" "memory" -}}
{{- if dig $kind $what "" $resources -}}
{{- $_ := set (get $resources $kind) $what (printf "${%s%s%s}" $.name (title $kind) (title $what)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $resources | toJson -}}
{{- end -}}

{{/* authz.injection.pod (root): YAML of what is added. */}}
{{- define "authz.injection.pod" -}}
{{- $native := .Values.sidecar.native -}}
{{- $managed := eq .Values.envoy "managed" -}}
spec:
  initContainers:
    {{- if $managed }}
    {{- include "authz.injection.init" . | nindent 4 }}
    {{- end }}
    {{- if .Values.policies.git.enabled }}
    {{- include "authz.injection.git" (dict "root" . "once" true) | nindent 4 }}
    {{- end }}
    {{- if $native }}
    {{- include "authz.injection.running" . | nindent 4 }}
    {{- else if not (or $managed .Values.policies.git.enabled) }} []
    {{- end }}
  containers:
    {{- if $native }} []
    {{- else }}
    {{- include "authz.injection.running" . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "authz.injection.volumes" . | nindent 4 }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - {name: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* authz.injection.names (spec): JSON list of the names of the containers that are ours. */}}
{{- define "authz.injection.names" -}}
{{- $names := list -}}
{{- range concat .initContainers .containers }}{{ $names = append $names .name }}{{ end -}}
{{- $names | toJson -}}
{{- end -}}

{{/* authz.injection.running (root): the containers that stay, in the order in which native sidecars start. */}}
{{- define "authz.injection.running" -}}
{{- if .Values.policies.git.enabled }}
{{ include "authz.injection.git" (dict "root" . "once" false) }}
{{- end }}
{{ include "authz.injection.sidecar" . }}
{{- if eq .Values.envoy "managed" }}
{{ include "authz.injection.envoy" . }}
{{- end }}
{{- end -}}

{{/* authz.injection.sockets (root): JSON list of where the sidecar answers checks, one for each worker. */}}
{{- define "authz.injection.sockets" -}}
{{- $workers := .Values.sidecar.workers | default 1 | int -}}
{{- if eq $workers 1 -}}
{{- list "unix:/run/authz/authz.sock" | toJson -}}
{{- else -}}
{{- $sockets := list -}}
{{- range $worker := until $workers -}}
{{- $sockets = append $sockets (printf "unix:/run/authz/authz-%d.sock" $worker) -}}
{{- end -}}
{{- $sockets | toJson -}}
{{- end -}}
{{- end -}}

{{/* authz.injection.policyPath (root): where the sidecar reads documents. git-sync swaps the link `current`. */}}
{{- define "authz.injection.policyPath" -}}
{{- with .Values.policies.git -}}
{{- if .enabled -}}
{{ list "/etc/authz/policies/current" (.path | trimAll "/") "${policies}" | compact | join "/" }}
{{- else -}}
/etc/authz/policies
{{- end -}}
{{- end -}}
{{- end -}}

{{/* authz.injection.init (root): writes Envoy's configuration, by the same code that the documentation is about. */}}
{{- define "authz.injection.init" -}}
- name: authz-init
  image: {{ include "authz.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [authz]
  args:
    - envoy
    - config
    - {{ printf "--listen=%s:${listenPort}" .Values.sidecar.address | quote }}
    - --upstream=127.0.0.1:${port}
    {{- range include "authz.injection.sockets" . | fromJsonArray }}
    - --authz={{ . }}
    {{- end }}
    - --hosts=${hosts}
    - --trusted-hops=${trustedHops}
    {{- with .Values.envoyProxy }}
    - --timeout-ms={{ int .timeoutMs }}
    {{- if .bodyBytes }}
    - --body-bytes={{ int .bodyBytes }}
    {{- end }}
    {{- if .edge }}
    - --edge
    {{- end }}
    {{- range .upgrades }}
    - --upgrade={{ . }}
    {{- end }}
    {{- end }}
    - {{ printf "--stats=%s:9193" .Values.sidecar.address | quote }}
    - --out=/run/authz/envoy.yaml
  resources: {{ include "authz.injection.resources" (dict "resources" .Values.sidecar.resources "name" "authz") }}
  securityContext:
    {{- include "authz.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: authz-run, mountPath: /run/authz}
    {{- include "authz.injection.noToken" . | nindent 4 }}
{{- end -}}

{{/* authz.injection.noToken: an empty directory where the API server would otherwise mount the token of the pod's
     service account, which is the application's. SECURITY: it leaves alone what has a mount there already. */}}
{{- define "authz.injection.noToken" -}}
- {name: authz-none, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end -}}

{{/* authz.injection.probe (dict "path" "/ready" "port" 9192 "period" 5 "failures" 3): a probe with nothing left to
     default. */}}
{{- define "authz.injection.probe" -}}
httpGet: {path: {{ .path }}, port: {{ .port }}, scheme: HTTP}
periodSeconds: {{ .period }}
timeoutSeconds: 2
successThreshold: 1
failureThreshold: {{ .failures }}
{{- end -}}

{{- define "authz.injection.sidecar" -}}
{{- $secrets := include "authz.secretNames" . | fromJsonArray -}}
- name: authz
  image: {{ include "authz.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [authz]
  args: [serve]
  env:
    {{- include "authz.injection.settings" . | nindent 4 }}
    # The pod's own name in records, whatever it sets as its host name.
    - name: AUTHZ_SIDECAR
      valueFrom:
        fieldRef: {apiVersion: v1, fieldPath: metadata.name}
  ports:
    - {name: authz-ops, containerPort: 9192, protocol: TCP}
  {{- if .Values.sidecar.native }}
  restartPolicy: Always
  {{- else }}
  # Longer than Envoy, which asks as long as clients come.
  lifecycle:
    preStop:
      sleep: {seconds: 6}
  {{- end }}
  startupProbe:
    {{- include "authz.injection.probe" (dict "path" "/health" "port" 9192 "period" 1 "failures" 60) | nindent 4 }}
  livenessProbe:
    {{- include "authz.injection.probe" (dict "path" "/health" "port" 9192 "period" 10 "failures" 3) | nindent 4 }}
  readinessProbe:
    {{- include "authz.injection.probe" (dict "path" "/ready" "port" 9192 "period" 5 "failures" 3) | nindent 4 }}
  resources: {{ include "authz.injection.resources" (dict "resources" .Values.sidecar.resources "name" "authz") }}
  securityContext:
    {{- include "authz.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: authz-run, mountPath: /run/authz}
    - {name: authz-state, mountPath: /var/lib/authz}
    - {name: authz-shm, mountPath: /dev/shm}
    - {name: authz-policies, mountPath: /etc/authz/policies, readOnly: true}
    {{- if $secrets }}
    - {name: authz-secrets, mountPath: /etc/authz/secrets, readOnly: true}
    {{- end }}
    {{- include "authz.injection.noToken" . | nindent 4 }}
{{- end -}}

{{/* authz.injection.settings (root): the sidecar's environment; each name once, or server-side apply refuses it. */}}
{{- define "authz.injection.settings" -}}
{{- $ours := dict "AUTHZ_POLICIES" (include "authz.injection.policyPath" .) -}}
{{- $_ := set $ours "AUTHZ_LISTEN" (eq .Values.envoy "managed" | ternary "unix:/run/authz/authz.sock" "127.0.0.1:9191") -}}
{{- $_ := set $ours "AUTHZ_OPS" (printf "%s:9192" .Values.sidecar.address) -}}
{{- $_ := set $ours "AUTHZ_STATE" "/var/lib/authz/state" -}}
{{- $_ := set $ours "AUTHZ_HOSTS" "${hosts}" -}}
{{- $_ := set $ours "AUTHZ_TRUSTED_HOPS" "${trustedHops}" -}}
{{- $_ := set $ours "AUTHZ_WORKERS" (.Values.sidecar.workers | default 1 | int | toString) -}}
{{- $_ := set $ours "AUTHZ_FLEET_SIZE" (.Values.sidecar.fleetSize | int | toString) -}}
{{- $_ := set $ours "LOG_LEVEL" .Values.sidecar.logLevel -}}
{{- if and (eq .Values.envoy "managed") .Values.envoyProxy.edge -}}
{{- $_ := set $ours "AUTHZ_XFF_APPENDED" "true" -}}
{{- end -}}
{{- if include "authz.secretNames" . | fromJsonArray -}}
{{- $_ := set $ours "AUTHZ_SECRETS" "/etc/authz/secrets" -}}
{{- end -}}
{{- range $name, $text := .Values.sidecar.settings -}}
{{- if or (hasKey $ours $name) (eq $name "AUTHZ_SIDECAR") -}}
{{- fail (printf "sidecar.settings: the chart sets %s itself, since containers and probes depend on it; take it out and use the value made for it" $name) -}}
{{- end -}}
{{- $_ := set $ours $name (toString $text) -}}
{{- end -}}
{{- range $name := keys $ours | sortAlpha }}
- {name: {{ $name }}, value: {{ get $ours $name | quote }}}
{{- end }}
{{- end -}}

{{- define "authz.injection.envoy" -}}
- name: authz-envoy
  image: {{ .Values.envoyProxy.image | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [envoy]
  # Containers of a pod share one network: without hot restart there is no socket that an Envoy of the application's
  # could have taken already.
  args: [-c, /run/authz/envoy.yaml, --concurrency, {{ .Values.envoyProxy.concurrency | int | toString | quote }}, --disable-hot-restart]
  ports:
    - {name: authz-http, containerPort: "${int:listenPort}", protocol: TCP}
    - {name: authz-stats, containerPort: 9193, protocol: TCP}
  {{- if .Values.sidecar.native }}
  restartPolicy: Always
  {{- else }}
  # An ordinary container is told to stop together with the application; clients still come for a moment.
  lifecycle:
    preStop:
      sleep: {seconds: 5}
  {{- end }}
  startupProbe:
    {{- include "authz.injection.probe" (dict "path" "/ready" "port" 9193 "period" 1 "failures" 60) | nindent 4 }}
  readinessProbe:
    {{- include "authz.injection.probe" (dict "path" "/ready" "port" 9193 "period" 5 "failures" 3) | nindent 4 }}
  resources: {{ include "authz.injection.resources" (dict "resources" .Values.envoyProxy.resources "name" "envoy") }}
  securityContext:
    {{- include "authz.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: authz-run, mountPath: /run/authz}
    {{- include "authz.injection.noToken" . | nindent 4 }}
{{- end -}}

{{/* authz.injection.git (dict "root" $ "once" true): git-sync, once before the sidecar starts or from then on. */}}
{{- define "authz.injection.git" -}}
{{- $git := .root.Values.policies.git -}}
{{- $ssh := not (hasPrefix "http" $git.repository) -}}
- name: {{ ternary "authz-git-init" "authz-git" .once }}
  image: {{ $git.image | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  env:
    - {name: GITSYNC_REPO, value: {{ required "policies.git.repository: name the repository whose policies are served, such as https://git.example.com/team/policies.git" $git.repository | quote }}}
    - {name: GITSYNC_REF, value: {{ $git.ref | quote }}}
    - {name: GITSYNC_ROOT, value: /etc/authz/policies}
    - {name: GITSYNC_LINK, value: current}
    - {name: GITSYNC_PERIOD, value: {{ $git.period | quote }}}
    - {name: GITSYNC_ONE_TIME, value: {{ .once | quote }}}
    # What a repository leads to by its submodules is somebody else's.
    - {name: GITSYNC_SUBMODULES, value: "off"}
    {{- if not .once }}
    # A repository that cannot be reached for a while is no reason to stop: the documents that came last stay.
    - {name: GITSYNC_MAX_FAILURES, value: "-1"}
    {{- end }}
    - {name: HOME, value: /tmp}
    {{- if $git.existingSecret }}
    {{- if $ssh }}
    - {name: GITSYNC_SSH_KEY_FILE, value: /etc/git-secret/ssh}
    - {name: GITSYNC_SSH_KNOWN_HOSTS_FILE, value: /etc/git-secret/known_hosts}
    {{- else }}
    - name: GITSYNC_USERNAME
      valueFrom:
        secretKeyRef: {name: {{ $git.existingSecret | quote }}, key: username}
    - {name: GITSYNC_PASSWORD_FILE, value: /etc/git-secret/password}
    {{- end }}
    {{- end }}
  {{- if and (not .once) .root.Values.sidecar.native }}
  restartPolicy: Always
  {{- end }}
  resources: {{ $git.resources | toJson }}
  # The user of git-sync's own image: ssh refuses one that its /etc/passwd does not know.
  securityContext: {{ mergeOverwrite (include "authz.containerSecurity" .root | fromYaml) (dict "runAsUser" 65533 "runAsGroup" 65533) | toJson }}
  volumeMounts:
    - {name: authz-policies, mountPath: /etc/authz/policies}
    - {name: authz-git-tmp, mountPath: /tmp}
    {{- if $git.existingSecret }}
    - {name: authz-git-secret, mountPath: /etc/git-secret, readOnly: true}
    {{- end }}
    {{- include "authz.injection.noToken" .root | nindent 4 }}
{{- end -}}

{{/* authz.injection.volumes (root). Mode 0444: without a group of the pod's own files of Secrets are root's, and who
     does not run as root reads them as anybody. SECURITY: the guard sees to it that nobody else mounts them. */}}
{{- define "authz.injection.volumes" -}}
{{- $git := .Values.policies.git -}}
- {name: authz-run, emptyDir: {medium: Memory, sizeLimit: 8Mi}}
- {name: authz-state, emptyDir: {sizeLimit: 2Gi}}
- {name: authz-shm, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
- {name: authz-none, emptyDir: {sizeLimit: 1Mi}}
{{- if $git.enabled }}
- {name: authz-policies, emptyDir: {sizeLimit: 1Gi}}
- {name: authz-git-tmp, emptyDir: {sizeLimit: 64Mi}}
{{- if $git.existingSecret }}
- {name: authz-git-secret, secret: {secretName: {{ $git.existingSecret | quote }}, defaultMode: 292}}
{{- end }}
{{- else }}
- {name: authz-policies, configMap: {name: "${policies}", defaultMode: 420}}
{{- end }}
{{- with include "authz.secretNames" . | fromJsonArray }}
- name: authz-secrets
  projected:
    defaultMode: 292
    sources:
      {{- range . }}
      - secret: {name: {{ . | quote }}}
      {{- end }}
{{- end }}
{{- end -}}
