{{/* What the guard holds a pod to, in CEL. SECURITY: everything that the kernel gives the sidecar is compared: a field
     that is not named here, or that Kubernetes has only since yesterday, makes the container differ. */}}

{{/* authz.guard.containers (description): `variables:` that hold what each container of ours should be, and the names
     of the fields in which it differs. Left to the cluster: what it costs (LimitRange, VPA), when an image is pulled,
     and how a message is read when it ends. SECURITY: a claim of resources is no cost: with a device come mounts and
     variables of somebody else's. */}}
{{- define "authz.guard.containers" -}}
{{- range $list := list "initContainers" "containers" }}
{{- range $index, $want := index $.pod.spec $list }}
{{- $name := printf "%s%d" $list $index }}
- name: {{ $name }}
  expression: >-
    {{ include "authz.cel" (dict "value" (omit $want "resources" "imagePullPolicy")) }}
- name: {{ $name }}Found
  expression: {{ printf "object.spec.?%s.orValue([]).filter(c, c.name == %s)" $list (toJson $want.name) | toJson }}
- name: {{ $name }}Differs
  expression: >-
    variables.{{ $name }}Found.size() != 1 ? ["name"] :
    variables.{{ $name }}.filter(k, !(k in variables.{{ $name }}Found[0])) +
    variables.{{ $name }}Found[0].filter(k,
    k in variables.{{ $name }} ? variables.{{ $name }}Found[0][k] != variables.{{ $name }}[k]
    {{- if $.variables.openPorts }} &&
    !({{ include "authz.istio.probed" (printf "variables.%sFound[0][k]" $name) }}) {{- end }} :
    k == "terminationMessagePath" ? variables.{{ $name }}Found[0][k] != "/dev/termination-log" :
    k == "resources" ? has(variables.{{ $name }}Found[0].resources.claims) :
    !(k in ["resizePolicy", "imagePullPolicy", "terminationMessagePolicy"]))
{{- end }}
{{- end }}
{{- end -}}

{{/* authz.guard.open (root): JSON list of the ports, as texts, that network policies open at every injected pod. */}}
{{- define "authz.guard.open" -}}
{{- $open := list -}}
{{- if and (include "authz.managed" .) .Values.networkPolicy.enabled -}}
{{- range concat (include "authz.listenPorts" . | fromJsonArray) .Values.networkPolicy.openPorts -}}
{{- $open = append $open (int . | toString) -}}
{{- end -}}
{{- end -}}
{{- $open | uniq | toJson -}}
{{- end -}}

{{/* authz.guard.annotations (description, and `open`): `validations:` of what the pod chose, each annotation once. */}}
{{- define "authz.guard.annotations" -}}
{{- $seen := list -}}
{{- range $name := keys .variables | sortAlpha }}
{{- $told := get $.variables $name }}
{{- if not (has $told.annotation $seen) }}
{{- $seen = append $seen $told.annotation }}
{{- $write := printf ": write %s" $told.message }}
- expression: {{ printf "!variables.judged || variables.%sFits" $name | toJson }}
  message: {{ printf "annotation `%s`%s" $told.annotation $write | quote }}
  messageExpression: {{ printf "%s + %s" (include "authz.cel.says" (dict "key" $told.annotation "said" (printf "variables.%sSaid" $name))) (toJson $write) | toJson }}
{{- end }}
{{- end }}
{{- $ours := printf "%s/" (.label | splitList "/" | first) }}
{{- /* The last four mean nothing in a mesh, and a pod may have them all the same: it may move. */}}
{{- $known := keys .pod.metadata.annotations }}
{{- range list "port" "listen-port" "envoy-cpu" "envoy-memory" }}{{ $known = append $known (print $ours .) }}{{ end }}
{{- $known = concat $seen $known | uniq | sortAlpha }}
{{- $unread := printf "k.startsWith(%s) && !(k in %s)" (toJson $ours) (toJson $known) }}
{{- $words := list }}
{{- range $known }}{{ if hasPrefix $ours . }}{{ $words = append $words (trimPrefix $ours .) }}{{ end }}{{ end }}
{{- $stands := printf ": after `%s` stands one of %s" $ours ($words | join ", ") }}
- expression: {{ printf "!variables.judged || object.metadata.?annotations.orValue({}).all(k, !(%s))" $unread | toJson }}
  message: {{ printf "nobody reads one of the pod's annotations%s" $stands | quote }}
  messageExpression: {{ printf "\"nobody reads annotation `\" + object.metadata.annotations.filter(k, %s)[0] + %s" $unread (printf "`%s" $stands | toJson) | toJson }}
{{- if .variables.listenPort }}
- expression: >-
    !variables.judged || !variables.valid ||
    !(variables.listenPort in [variables.port, "9192", "9193"] || variables.port in ["9192", "9193"])
  message: "two listen at one port: Envoy has `sidecar.authz/listen-port` and 9193, the sidecar 9192, the application `sidecar.authz/port`; give each its own"
{{- with .open }}
- expression: {{ printf "!variables.judged || !(variables.port in %s)" (toJson .) | toJson }}
  message: {{ printf "the application listens at a port that network policies open to everybody (%s), and would be reached past Envoy: let it listen elsewhere, and say so in `sidecar.authz/port`" (join ", " .) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* authz.guard.lacks (root): what is wrong where a pod came without its sidecar. */}}
{{- define "authz.guard.lacks" -}}
{{- if eq .Values.injection "policy" -}}
the sidecar was not put in: a pod gets it when it is created, so label the template of the pod; if that is labelled, see that `kubectl get mutatingadmissionpolicy {{ include "authz.clusterName" (dict "root" . "suffix" "inject") }}` and its binding are there
{{- else if eq .Values.injection "webhook" -}}
the sidecar was not put in: a pod gets it when it is created, so label the template of the pod; if that is labelled, see that the webhook runs, `kubectl -n {{ .Release.Namespace }} get pods -l app.kubernetes.io/instance={{ .Release.Name }}`
{{- else -}}
the sidecar is not in it: put it into the manifest with `authz inject -f`
{{- end -}}
{{- end -}}
