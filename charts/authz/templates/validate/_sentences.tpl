{{/* What cannot work, each with one sentence: what, why, what to set. validate.yaml calls them before anything else
     is rendered: Helm begins with the deepest directory. */}}

{{/* authz.refuse.cluster (root): the cluster is too old for what was chosen. */}}
{{- define "authz.refuse.cluster" -}}
{{- $found := .Capabilities.KubeVersion.Version -}}
{{- $rendering := "without a cluster, say which one is meant: --kube-version 1.37" -}}
{{- if not (include "authz.atLeast" (dict "root" . "version" "1.29")) -}}
{{- fail (printf "this cluster is Kubernetes %s, and the chart needs 1.29 or newer; take a newer one; %s" $found $rendering) -}}
{{- end -}}
{{- if and (include "authz.injects" .) (eq .Values.injection "policy") (not (include "authz.atLeast" (dict "root" . "version" "1.36"))) -}}
{{- fail (printf "`injection: policy` needs Kubernetes 1.36 for MutatingAdmissionPolicy, and this cluster is %s; set `injection: webhook`; %s" $found $rendering) -}}
{{- end -}}
{{- if and (include "authz.injects" .) .Values.guard.enabled (not (include "authz.atLeast" (dict "root" . "version" "1.30"))) -}}
{{- fail (printf "the guard needs Kubernetes 1.30 for ValidatingAdmissionPolicy, and this cluster is %s; set `guard.enabled: false`, and watch for pods without a sidecar by the alert; %s" $found $rendering) -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.modes (root): Envoys and deployments that do not go together. */}}
{{- define "authz.refuse.modes" -}}
{{- if and (eq .Values.deployment "service") (eq .Values.envoy "managed") -}}
{{- fail "`deployment: service` has no Envoy in the pods, and `envoy: managed` is one in each; set `deployment: sidecar`, or `envoy: gateway`" -}}
{{- end -}}
{{- if and (eq .Values.deployment "service") (eq .Values.envoy "istio") -}}
{{- fail "`envoy: istio` asks the sidecar in its own pod over loopback, and `deployment: service` has none there; set `deployment: sidecar`" -}}
{{- end -}}
{{- if and (eq .Values.deployment "sidecar") (eq .Values.envoy "gateway") -}}
{{- fail "`envoy: gateway` asks one service for all, and `deployment: sidecar` has none; set `deployment: service` and `service.tls`" -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.service (root): `deployment: service` without what it needs to be asked safely. */}}
{{- define "authz.refuse.service" -}}
{{- if eq .Values.deployment "service" -}}
{{- if not .Values.service.tls.existingSecret -}}
{{- fail "`deployment: service` answers beyond its own pod, where the sidecar refuses to speak without TLS; set `service.tls.existingSecret` to a Secret with tls.crt, tls.key and ca.crt" -}}
{{- end -}}
{{- if not .Values.service.tls.clients -}}
{{- fail "`service.tls.clients` is empty, and whoever may ask can ask about anybody; set the SPIFFE ids of your Envoys, or [\"*\"] for every certificate of the CA in ca.crt" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.words (root): texts that stand in templates without quotes: names and images. SECURITY: one with a
     line break or a colon in it would be more than one field. */}}
{{- define "authz.refuse.words" -}}
{{- range $name, $text := dict "nameOverride" .Values.nameOverride "fullnameOverride" .Values.fullnameOverride -}}
{{- if not (regexMatch "^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$" $text) -}}
{{- fail (printf "`%s` is %q, and names of objects begin with it; set a-z, 0-9 and - alone" $name $text) -}}
{{- end -}}
{{- end -}}
{{- with .Values -}}
{{- $texts := dict "image.repository" .image.repository "image.tag" .image.tag "redis.development.image" .redis.development.image "service.tls.existingSecret" .service.tls.existingSecret "gateway.tls.hostname" .gateway.tls.hostname "gateway.tls.clientSecret" .gateway.tls.clientSecret "gateway.clientTraffic.clientCA" .gateway.clientTraffic.clientCA "monitoring.podMonitor.interval" .monitoring.podMonitor.interval -}}
{{- range .image.pullSecrets }}{{ $_ := set $texts "image.pullSecrets" . }}{{ include "authz.refuse.word" $texts }}{{ end -}}
{{- range .envoyProxy.upgrades }}{{ $_ := set $texts "envoyProxy.upgrades" . }}{{ include "authz.refuse.word" $texts }}{{ end -}}
{{- include "authz.refuse.word" $texts -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.word (dict of value name to text): words with nothing in them that YAML would read. */}}
{{- define "authz.refuse.word" -}}
{{- range $name, $text := . -}}
{{- if not (regexMatch "^([A-Za-z0-9_]([A-Za-z0-9._:/@-]*[A-Za-z0-9_])?)?$" (toString $text)) -}}
{{- fail (printf "`%s` has %q, which is no name; write letters, digits and . _ - / : @ alone" $name $text) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.names (root): what must be a name and is none. */}}
{{- define "authz.refuse.names" -}}
{{- range .Values.namespaces -}}
{{- if not (regexMatch "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" .) -}}
{{- fail (printf "`namespaces` has %q, which no namespace is called: a-z, 0-9 and -, at most 63" .) -}}
{{- end -}}
{{- end -}}
{{- range .Values.sidecar.hosts -}}
{{- if not (regexMatch "^(\\*|(\\*\\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)$" .) -}}
{{- fail (printf "`sidecar.hosts` has %q, which is no host: write it as clients do, in lower case and without a port (items.example.com), *.example.com, or * for every host" .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .Values.image.digest)) -}}
{{- fail (printf "`image.digest` is %q, which is no digest: sha256: and 64 hex digits, or leave it empty and set `image.tag`" .Values.image.digest) -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.settings (root): settings that other values say, or that are secret. */}}
{{- define "authz.refuse.settings" -}}
{{- $ours := dict "AUTHZ_POLICIES" "policies" "AUTHZ_LISTEN" "deployment" "AUTHZ_OPS" "deployment" "AUTHZ_DEBUG" "deployment" "AUTHZ_STATE" "deployment" "AUTHZ_SECRETS" "extraSecrets" "AUTHZ_HOSTS" "sidecar.hosts" "AUTHZ_TRUSTED_HOPS" "sidecar.trustedHops" "AUTHZ_FLEET_SIZE" "sidecar.fleetSize" "AUTHZ_WORKERS" "sidecar.workers" "LOG_LEVEL" "sidecar.logLevel" "AUTHZ_TLS_CERT" "service.tls" "AUTHZ_TLS_KEY" "service.tls" "AUTHZ_TLS_CLIENT_CA" "service.tls" "AUTHZ_TLS_CLIENTS" "service.tls.clients" -}}
{{- $secret := list "API_KEY_SALT" "API_KEY_SALT_PREVIOUS" "REDIS_URL" "DATABASE_URL" "AUTHZ_REDIS_SENTINEL_PASSWORD" "AUTHZ_RECORD_PSEUDONYM_KEY" "AUTHZ_RECORD_HTTP_TOKEN" "AUTHZ_RECORD_REDIS_PASSWORD" "AUTHZ_RECORD_KAFKA_PASSWORD" -}}
{{- $known := .Files.Lines "files/settings.txt" -}}
{{- range $name, $_ := .Values.sidecar.settings -}}
{{- if has $name $secret -}}
{{- fail (printf "`sidecar.settings` has %s, which is secret and would be readable in every pod; put it into a Secret and name that in `keys`, `redis` or `extraSecrets`" $name) -}}
{{- end -}}
{{- with get $ours $name -}}
{{- fail (printf "`sidecar.settings` has %s, which the chart sets itself, from `%s`; set that, or take it out" $name .) -}}
{{- end -}}
{{- if not (has $name $known) -}}
{{- fail (printf "`sidecar.settings` has %q, which is no setting: they are the environment names of docs/settings.md, such as AUTHZ_LIMIT_HEADERS" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.ports (root): applications that could be reached past their Envoy. */}}
{{- define "authz.refuse.ports" -}}
{{- if include "authz.managed" . -}}
{{- $open := concat (list .Values.sidecar.listenPort) .Values.networkPolicy.listenPorts .Values.networkPolicy.openPorts -}}
{{- range $open -}}
{{- if eq (int .) (int $.Values.sidecar.port) -}}
{{- fail (printf "port %d is `sidecar.port`, where applications listen, and open to everybody as well: requests would go past Envoy; take another `sidecar.listenPort`, or take it out of `networkPolicy`" (int .)) -}}
{{- end -}}
{{- if has (int .) (list 9192 9193) -}}
{{- fail (printf "port %d is where metrics are; take another `sidecar.listenPort`, or take it out of `networkPolicy`" (int .)) -}}
{{- end -}}
{{- end -}}
{{- if has (int .Values.sidecar.port) (list 9192 9193) -}}
{{- fail (printf "`sidecar.port` is %d, where the sidecar or Envoy tells its metrics; let the application listen elsewhere" (int .Values.sidecar.port)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* authz.refuse.defaults (root): what pods get that say nothing, and what the guard would refuse in each of them. */}}
{{- define "authz.refuse.defaults" -}}
{{- if eq .Values.deployment "sidecar" -}}
{{- range $told := include "authz.injection.variables" . | fromYaml -}}
{{- if and $told.default $told.pattern (not (regexMatch $told.pattern $told.default)) -}}
{{- fail (printf "%q is what pods get that do not say annotation `%s`, and the guard would refuse each of them; set the value behind it, of `sidecar` or `envoyProxy`, to %s" $told.default $told.annotation $told.message) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
