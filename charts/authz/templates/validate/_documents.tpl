{{/* The same for policies, keys and Redis. */}}

{{/* authz.refuse.policies (root): sets that no pod could be served with. */}}
{{- define "authz.refuse.policies" -}}
{{- with .Values.policies.git -}}
{{- if and .enabled (not .repository) -}}
{{- fail "`policies.git.enabled` is true and `policies.git.repository` empty; set the repository's address" -}}
{{- end -}}
{{- if and .enabled (not (regexMatch "^((https?|ssh|git|file)://|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:)[^\\s]+$" .repository)) -}}
{{- fail (printf "`policies.git.repository` is %q, which git takes for a directory; write https://HOST/PATH.git or git@HOST:PATH.git" .repository) -}}
{{- end -}}
{{- if and .enabled (or (hasPrefix "/" .path) (has ".." (splitList "/" .path))) -}}
{{- fail (printf "`policies.git.path` is %q; set a directory inside the repository, without / before it and without .." .path) -}}
{{- end -}}
{{- end -}}
{{- if not .Values.policies.sets -}}
{{- fail "`policies.sets` is empty, and pods choose one of them; set at least `policies.sets.default`" -}}
{{- end -}}
{{- range $name, $set := .Values.policies.sets -}}
{{- include "authz.refuse.set" (dict "root" $ "name" $name "set" $set) -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.set (dict "root" $ "name" NAME "set" SET): one of them. */}}
{{- define "authz.refuse.set" -}}
{{- $git := .root.Values.policies.git.enabled -}}
{{- $files := (.set).files -}}
{{- if or (not (regexMatch "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$" .name)) (eq .name "helm-test") -}}
{{- fail (printf "`policies.sets` has %q, which no set can be called: a-z, 0-9 and -, at most 40, and not helm-test" .name) -}}
{{- end -}}
{{- if and $files (.set).existingConfigMap -}}
{{- fail (printf "`policies.sets.%s` has both `files` and `existingConfigMap`; which one counts? Take one out" .name) -}}
{{- end -}}
{{- if and $git (or $files (.set).existingConfigMap) -}}
{{- fail (printf "`policies.sets.%s` has documents, and `policies.git.enabled` says that they are in Git; take one out" .name) -}}
{{- end -}}
{{- range $file, $text := $files -}}
{{- if not (regexMatch "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\\.yaml$" $file) -}}
{{- fail (printf "`policies.sets.%s.files` has %q, which the sidecar would not read: names end in .yaml (with --set-file, write files.items\\.yaml=PATH)" $.name $file) -}}
{{- end -}}
{{- if not (contains "kind:" $text) -}}
{{- fail (printf "`policies.sets.%s.files` has %q without a document in it; give its text, by --set-file or as `%s: |`, and try it by `authz policy validate`" $.name $file $file) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.keys (root): peppers that guard nothing. */}}
{{- define "authz.refuse.keys" -}}
{{- with .Values.keys -}}
{{- if and .existingSecret (or .pepper .previousPepper) -}}
{{- fail "`keys.existingSecret` and `keys.pepper` are both set; which one counts? Take one out" -}}
{{- end -}}
{{- if and .previousPepper (not .pepper) -}}
{{- fail "`keys.previousPepper` is set and `keys.pepper` is not; set the one that counts now" -}}
{{- end -}}
{{- range $name, $text := dict "pepper" .pepper "previousPepper" .previousPepper -}}
{{- if and $text (lt (len $text) 32) -}}
{{- fail (printf "`keys.%s` has %d bytes, and at least 32 random ones keep keys from being guessed; make one by `openssl rand -base64 48`" $name (len $text)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.redis (root): more than one Redis, or an address that is none. */}}
{{- define "authz.refuse.redis" -}}
{{- with .Values.redis -}}
{{- $said := compact (list (ternary "redis.existingSecret" "" (ne .existingSecret "")) (ternary "redis.url" "" (ne .url "")) (ternary "redis.development.enabled" "" .development.enabled)) -}}
{{- if gt (len $said) 1 -}}
{{- fail (printf "`%s` are all set, and limits are kept in one Redis; take out all but one" (join "`, `" $said)) -}}
{{- end -}}
{{- if and .url (not (regexMatch "^(redis|rediss|unix|redis\\+sentinel|redis\\+cluster|rediss\\+sentinel|rediss\\+cluster)://." .url)) -}}
{{- fail "`redis.url` is no address of a Redis; write redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster:// before it, see docs/redis.md" -}}
{{- end -}}
{{- if and .development.enabled (not (regexMatch "^[A-Za-z0-9]{8,}$" .development.password)) -}}
{{- fail "`redis.development.password` must have 8 letters and digits or more, since it stands in an address; set another" -}}
{{- end -}}
{{- end -}}
{{- end -}}
