{{- define "sro-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "sro-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "sro-operator.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Two namespaced releases of one name in two namespaces must not meet in a cluster-scoped object. */}}
{{- define "sro-operator.clusterName" -}}
{{- if eq .Values.scope "cluster" }}
{{- include "sro-operator.fullname" . }}
{{- else }}
{{- printf "%s.%s" (include "sro-operator.fullname" .) .Release.Namespace }}
{{- end }}
{{- end }}

{{- define "sro-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sro-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sro-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "sro-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: sro
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "sro-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "sro-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Takes (dict "image" … "root" $): repository:tag, or repository:tag@digest. */}}
{{- define "sro-operator.image" -}}
{{- $tag := default .root.Chart.AppVersion .image.tag }}
{{- printf "%s:%s" .image.repository $tag }}{{ with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* The namespaces served with scope namespaced, joined by commas; nothing with scope cluster. */}}
{{- define "sro-operator.namespaces" -}}
{{- if eq .Values.scope "namespaced" }}
{{- default (list .Release.Namespace) .Values.watchNamespaces | join "," }}
{{- end }}
{{- end }}

{{- define "sro-operator.metricsPort" -}}
8080
{{- end }}
