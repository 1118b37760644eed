{{- define "blade.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "blade.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "blade.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "blade.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "blade.selectorLabels" -}}
app.kubernetes.io/name: {{ include "blade.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "blade.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "blade.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "blade.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "blade.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "blade.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* blade.toml: what `config` says, the files of secrets, and the names by which the HTTP port is reached. */}}
{{- define "blade.toml" -}}
{{- range $name := list "database_url" "listen_database_url" "databricks_token" "databricks_client_secret" "catalog_token" "oidc_client_secret" }}
{{- if hasKey $.Values.config $name }}
{{- fail (printf "config.%s is a secret: put it into the Secret %s, and the key that it has there into secrets.files.%s_file" $name $.Values.secrets.name $name) }}
{{- end }}
{{- end }}
{{- range $name, $instead := dict "host" "service" "port" "service.grpcPort" "http_port" "service.httpPort" "admin_host" "metrics.port" "admin_port" "metrics.port" "allowed_hosts" "allowedHosts" "tls_cert_file" "tls.secretName" "tls_key_file" "tls.secretName" "plaintext" "tls.enabled" "data_dir" "scratch" "ready_file" "readinessProbe" }}
{{- if hasKey $.Values.config $name }}
{{- fail (printf "config.%s is set by the chart: use %s" $name $instead) }}
{{- end }}
{{- end }}
{{- $config := deepCopy .Values.config }}
{{- range $name, $key := .Values.secrets.files }}
{{- if $key }}
{{- $_ := set $config $name (printf "/etc/blade/secrets/%s" $key) }}
{{- end }}
{{- end }}
{{- $service := include "blade.fullname" . }}
{{- $hosts := list $service (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc" $service .Release.Namespace) }}
{{- if and .Values.ingress.http.enabled .Values.ingress.http.host }}
{{- $hosts = append $hosts .Values.ingress.http.host }}
{{- end }}
{{- $_ := set $config "allowed_hosts" (concat $hosts .Values.allowedHosts | uniq) }}
{{- range $name, $value := $config }}
{{- if not (kindIs "invalid" $value) }}
{{ $name }} = {{ mustToRawJson $value }}
{{- end }}
{{- end }}
{{- end }}
