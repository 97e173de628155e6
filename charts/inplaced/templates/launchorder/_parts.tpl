{{- define "inplaced.launchOrder" -}}
{{- printf "%s-launch-order" (include "inplaced.fullname" .) -}}
{{- end }}

{{/* The version in which the API server has MutatingAdmissionPolicy; empty where it has none. */}}
{{- define "inplaced.mutatingApi" -}}
{{- $group := "admissionregistration.k8s.io" -}}
{{- if .Capabilities.APIVersions.Has (printf "%s/v1/MutatingAdmissionPolicy" $group) -}}
{{- $group }}/v1
{{- else if .Capabilities.APIVersions.Has (printf "%s/v1beta1/MutatingAdmissionPolicy" $group) -}}
{{- $group }}/v1beta1
{{- end -}}
{{- end }}

{{/* New pods. */}}
{{- define "inplaced.launchOrder.pods" -}}
resourceRules:
  - apiGroups: [""]
    apiVersions: [v1]
    resources: [pods]
    operations: [CREATE]
{{- end }}

{{/* Those of them that ask for an order; a static pod's mirror cannot be changed any more. */}}
{{- define "inplaced.launchOrder.asking" -}}
- name: asks-for-an-order
  expression: >-
    size(object.spec.containers) > 1 && ({{ include "inplaced.launchOrder.byPosition" . }} ||
    object.spec.containers.exists(c, has(c.env) && c.env.exists(e, e.name == 'KRUISE_CONTAINER_PRIORITY')))
- name: is-no-mirror
  expression: >-
    !has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)
{{- end }}

{{/* Whether containers start in the order in which they are listed. */}}
{{- define "inplaced.launchOrder.byPosition" -}}
(has(object.metadata.annotations) && object.metadata.annotations[?'apps.kruise.io/container-launch-priority'].orValue('') == 'Ordered')
{{- end }}
