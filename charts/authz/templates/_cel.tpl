{{/* Kubernetes' expression language, written from the one description in _injection.tpl. SECURITY: what stands in
     values becomes string literals by `toJson`, whose escapes CEL reads alike; what stands in annotations is never
     part of an expression, only a value that one looks up. */}}

{{/* authz.cel (dict "value" V): any JSON value as CEL. Each value inside is `dyn`, since CEL wants the items of one
     list or mapping to be of one type. Texts and numbers may use variables. */}}
{{- define "authz.cel" -}}
{{- if kindIs "map" .value -}}
{{- $fields := list -}}
{{- range $key := keys .value | sortAlpha -}}
{{- $fields = append $fields (printf "%s: dyn(%s)" (toJson $key) (include "authz.cel" (dict "value" (get $.value $key)))) -}}
{{- end -}}
{ {{- $fields | join ", " -}} }
{{- else if kindIs "slice" .value -}}
{{- $items := list -}}
{{- range .value -}}
{{- $items = append $items (printf "dyn(%s)" (include "authz.cel" (dict "value" .))) -}}
{{- end -}}
[ {{- $items | join ", " -}} ]
{{- else if kindIs "string" .value -}}
{{- include "authz.cel.text" .value -}}
{{- else -}}
{{- toJson .value -}}
{{- end -}}
{{- end -}}

{{/* authz.cel.text (text): a literal, or literals and variables joined; `${int:name}` alone is a number. */}}
{{- define "authz.cel.text" -}}
{{- $number := regexFind "^\\$\\{int:[A-Za-z0-9]+\\}$" . -}}
{{- if $number -}}
int(variables.{{ $number | trimPrefix "${int:" | trimSuffix "}" }})
{{- else -}}
{{- $use := "\\$\\{[A-Za-z0-9]+\\}" -}}
{{- $uses := regexFindAll $use . -1 -}}
{{- $parts := list -}}
{{- range $index, $between := regexSplit $use . -1 -}}
{{- if $between }}{{ $parts = append $parts (toJson $between) }}{{ end -}}
{{- if lt $index (len $uses) -}}
{{- $parts = append $parts (printf "variables.%s" (index $uses $index | trimPrefix "${" | trimSuffix "}")) -}}
{{- end -}}
{{- end -}}
{{- $parts | join " + " | default "\"\"" -}}
{{- end -}}
{{- end -}}

{{/* authz.cel.variables (description): for `variables:` of a policy. For each variable its `said` text, whether that
     `fits`, and what it stands for; then `valid`: all of them fit. */}}
{{- define "authz.cel.variables" -}}
{{- $all := list -}}
{{- range $name := keys .variables | sortAlpha -}}
{{- $told := get $.variables $name -}}
{{- $all = append $all (printf "variables.%sFits" $name) }}
- name: {{ $name }}Said
  expression: {{ printf "object.metadata.?annotations[?%s].orValue(%s)" (toJson $told.annotation) (toJson $told.default) | toJson }}
{{- if $told.choices }}
- name: {{ $name }}Fits
  expression: {{ printf "variables.%sSaid in %s" $name ($told.choices | keys | sortAlpha | toJson) | toJson }}
- name: {{ $name }}
  expression: {{ printf "%s[?variables.%sSaid].orValue(\"\")" (toJson $told.choices) $name | toJson }}
{{- else }}
- name: {{ $name }}Fits
  expression: {{ printf "variables.%sSaid.matches(%s)" $name (toJson $told.pattern) | toJson }}
- name: {{ $name }}
  expression: {{ printf "variables.%sSaid" $name | toJson }}
{{- end }}
{{- end }}
- name: valid
  expression: {{ $all | join " && " | toJson }}
{{- end -}}

{{/* authz.cel.ports (description): for `variables:` of a policy about Services: `chosen`, the port that leads to
     Envoy, as a list of one, or of none where nobody can tell which. */}}
{{- define "authz.cel.ports" -}}
- name: ports
  expression: object.spec.?ports.orValue([])
- name: said
  expression: {{ printf "object.metadata.?annotations[?%s]" (toJson .service.annotation) | toJson }}
- name: chosen
  expression: >-
    variables.ports.size() == 1 && !variables.said.hasValue() ? variables.ports :
    variables.ports.filter(p, p.?name.orValue("") == variables.said.orValue("http"))
{{- end -}}

{{/* authz.cel.ours (expression): whether a name is one of those that belong to the sidecar. */}}
{{- define "authz.cel.ours" -}}
({{ . }} == "authz" || {{ . }}.startsWith("authz-"))
{{- end -}}

{{/* authz.cel.says (dict "key" "sidecar.authz/port" "said" EXPRESSION): the text with which a sentence about an
     annotation begins. Others wrote the value: it is cut, and a message of several lines would not be shown. SECURITY:
     what terminals obey, or what turns text around, is left out: operators read events. */}}
{{- define "authz.cel.says" -}}
{{- $cut := printf "(%s.size() > 80 ? %s.substring(0, 80) + \"...\" : %s).replace(\"\\n\", \" \")" .said .said .said -}}
{{- $plain := toJson "^[^\\x00-\\x1f\\x7f-\\x9f\\x{202a}-\\x{202e}\\x{2066}-\\x{2069}]*$" -}}
{{- $shown := printf "(%s.matches(%s) ? %s : \"(characters that cannot be shown)\")" $cut $plain $cut -}}
({{ .said }} == "" ? {{ printf "annotation `%s` is missing, and the release has no default" .key | toJson }} : {{ printf "annotation `%s` says `" .key | toJson }} + {{ $shown }} + "`")
{{- end -}}
