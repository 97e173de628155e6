{{/* The release's own prefix: its name, with the chart's unless that is in it. */}}
{{- define "inplaced.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "inplaced.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The labels by which the pods of one part are found: a list of the root and the part's name. */}}
{{- define "inplaced.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "inplaced.agentAccount" -}}
{{- printf "%s-agent" (include "inplaced.fullname" .) -}}
{{- end }}

{{- define "inplaced.controllerAccount" -}}
{{- printf "%s-controller" (include "inplaced.fullname" .) -}}
{{- end }}

{{/* Where sealed pull secrets lie, one Secret a node. */}}
{{- define "inplaced.nodeSecrets" -}}
{{- if gt (len .Release.Namespace) 50 -}}
{{- fail (printf "namespace %s has %d characters, 50 are allowed: the namespace of sealed secrets is named after it" .Release.Namespace (len .Release.Namespace)) -}}
{{- end -}}
{{- printf "%s-node-secrets" .Release.Namespace -}}
{{- end }}

{{- define "inplaced.image" -}}
{{- $version := .Values.image.tag | default .Chart.AppVersion -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository $version -}}
{{- end -}}
{{- end }}

{{/* Whether CloneSets are looked after: "true", or nothing. */}}
{{- define "inplaced.workloads" -}}
{{- $enabled := .Values.controller.workloads.enabled -}}
{{- if or (and (eq (toString $enabled) "auto") .Values.crds.install) (eq (toString $enabled) "true") -}}
true
{{- end -}}
{{- end }}

{{/* The port of HOST:PORT. */}}
{{- define "inplaced.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end }}

{{/* Where probes ask: the pod's address, or the one address that is listened on. */}}
{{- define "inplaced.probe" -}}
path: {{ .path }}
port: metrics
{{- $host := regexReplaceAll ":[0-9]+$" .listen "" }}
{{- if not (has $host (list "" "0.0.0.0" "[::]")) }}
host: {{ trimAll "[]" $host | quote }}
{{- end }}
{{- end }}

{{/* Settings as environment variables: the flag's name and its value, as the program reads it. */}}
{{- define "inplaced.settings" -}}
{{- range $name, $value := . }}
- name: {{ printf "INPLACED_%s" ($name | replace "-" "_" | upper) }}
  {{- if kindIs "slice" $value }}
  value: {{ join "," $value | quote }}
  {{- else if kindIs "map" $value }}
  {{- $pairs := list }}
  {{- range $key, $item := $value }}
  {{- $pairs = append $pairs (printf "%s=%s" $key $item) }}
  {{- end }}
  value: {{ join "," $pairs | quote }}
  {{- else if and (kindIs "float64" $value) (eq (floor $value) $value) }}
  value: {{ int64 $value | quote }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What no container of ours needs. */}}
{{- define "inplaced.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
