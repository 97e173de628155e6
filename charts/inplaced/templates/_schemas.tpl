{{/*
Parts of the kinds' schemas, each written once. Rules stand in for what OpenKruise's webhooks refuse; bounds
that OpenKruise does not have (maxItems, maxLength) keep the rules within the API server's cost limits.
*/}}

{{/* Who an object is. The rest of the metadata is the API server's. */}}
{{- define "inplaced.schema.identity" -}}
apiVersion:
  type: string
  description: Version of the API in which this document is written.
kind:
  type: string
  description: What this document describes.
metadata:
  type: object
{{- end }}

{{/* One image reference: the grammar and defaults of containerd and the kubelet. */}}
{{- define "inplaced.schema.image" -}}
type: string
description: >-
  What to pull, as in a pod: nginx:1.27, or registry.example:5000/team/app@sha256:…; without tag and digest,
  the tag is latest.
maxLength: 800
x-kubernetes-validations:
  - rule: self != ''
    message: "is empty; allowed: an image reference such as nginx:1.27"
  - rule: >-
      self == '' || self.matches('^(?:(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:[.][a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|[[][0-9a-fA-F:.]+[]])(?::[0-9]{1,5})?/)[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*)*|[a-z0-9]+(?:(?:_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*)+|[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*)(?::[0-9A-Za-z_][0-9A-Za-z_.-]{0,127})?(?:@sha256:[0-9a-f]{64}|@sha512:[0-9a-f]{128})?$')
    message: "is not an image reference; allowed: [registry[:port]/]repository[:tag][@digest], the repository in lower case"
  - rule: "!self.matches('^[0-9a-f]{64}$')"
    message: "is not an image reference: wrong repository; allowed: a name, not the id of an image"
  - rule: >-
      !self.matches('^[^/@]*:[0-9]{1,5}/') ||
      (int(self.split('/')[0].find('[0-9]+$')) >= 1 && int(self.split('/')[0].find('[0-9]+$')) <= 65535)
    message: "is not an image reference: wrong registry; allowed: a port from 1 to 65535"
  - rule: >-
      !self.matches('^[[]') || isIP(self.substring(1, self.indexOf(']')))
    message: "is not an image reference: wrong registry; allowed: an IPv6 address in the brackets"
  - rule: >-
      self.matches('^(?:(?:[^/@]*[.:A-Z][^/@]*|localhost)/)?[^:@]{0,255}(?:[:@]|$)') &&
      !self.matches('^(?:(?:index[.])?docker[.]io/)?[^/:@]{248}')
    message: "is not an image reference: wrong repository; allowed: at most 255 characters, library/ included"
{{- end }}

{{/* A label selector without its type, so that fields can be put beside. */}}
{{- define "inplaced.schema.selectorParts" -}}
matchLabels:
  type: object
  description: Each label with the value that it must have.
  maxProperties: 100
  additionalProperties:
    type: string
    maxLength: 63
    x-kubernetes-validations:
      - rule: "!format.labelValue().validate(self).hasValue()"
        message: "is not a valid label value; allowed: empty, or at most 63 letters, digits, '-', '_' or '.', starting and ending with a letter or digit"
  x-kubernetes-validations:
    - rule: "self.all(key, !format.qualifiedName().validate(key).hasValue())"
      message: "has a key that is not valid; allowed: a name of at most 63 letters, digits, '-', '_' or '.', with an optional DNS prefix and '/'"
matchExpressions:
  type: array
  description: Further requirements; all must be met.
  maxItems: 50
  items:
    type: object
    required: [key, operator]
    x-kubernetes-validations:
      - rule: "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)"
        message: "does not go with In and NotIn; allowed: one value or more"
        fieldPath: .values
      - rule: "self.operator in ['In', 'NotIn'] || !has(self.values) || size(self.values) == 0"
        message: "does not go with Exists and DoesNotExist; allowed: no values"
        fieldPath: .values
    properties:
      key:
        type: string
        description: The label that is looked at.
        maxLength: 317
        x-kubernetes-validations:
          - rule: "!format.qualifiedName().validate(self).hasValue()"
            message: "is not a valid key; allowed: a name of at most 63 letters, digits, '-', '_' or '.', with an optional DNS prefix and '/'"
      operator:
        type: string
        description: How it is compared.
        enum: [In, NotIn, Exists, DoesNotExist]
      values:
        type: array
        description: What it is compared with by In and NotIn.
        maxItems: 500
        x-kubernetes-list-type: atomic
        items:
          type: string
          maxLength: 63
          x-kubernetes-validations:
            # format.labelValue() would say the same at ten times the cost.
            - rule: self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')
              message: "is not a valid label value; allowed: empty, or at most 63 letters, digits, '-', '_' or '.', starting and ending with a letter or digit"
  x-kubernetes-list-type: atomic
{{- end }}

{{- define "inplaced.schema.sandboxConfig" -}}
type: object
description: Passed on to the runtime with each pull.
properties:
  labels:
    type: object
    description: Labels of the sandbox that the pull is made for.
    additionalProperties:
      type: string
  annotations:
    type: object
    description: Annotations of the sandbox that the pull is made for.
    additionalProperties:
      type: string
{{- end }}

{{/* The rules that jobs of one image and of several share, on the spec. */}}
{{- define "inplaced.schema.jobRules" -}}
- rule: "!(has(self.selector) && has(self.podSelector))"
  message: "is there beside selector; allowed: one of the two"
  fieldPath: .podSelector
  reason: FieldValueForbidden
{{- end }}

{{/* What jobs of one image and of several share, in the spec. */}}
{{- define "inplaced.schema.jobParts" -}}
pullSecrets:
  type: array
  description: Names of Secrets in the job's namespace, of docker-config type, that may be needed for the pull.
  maxItems: 100
  x-kubernetes-list-type: atomic
  items:
    type: string
    maxLength: 253
    x-kubernetes-validations:
      - rule: "!format.dns1123Subdomain().validate(self).hasValue()"
        message: "is not a valid name; allowed: at most 253 characters: a-z, 0-9, '-' and '.', each part starting and ending with a letter or digit"
selector:
  type: object
  description: Which nodes, by name or by label; absent means every node. Not beside podSelector.
  x-kubernetes-map-type: atomic
  x-kubernetes-validations:
    - rule: >-
        !has(self.names) || size(self.names) == 0 ||
        ((!has(self.matchLabels) || size(self.matchLabels) == 0) &&
        (!has(self.matchExpressions) || size(self.matchExpressions) == 0))
      message: "is there beside labels; allowed: names or labels, not both"
      fieldPath: .names
      reason: FieldValueForbidden
  properties:
    names:
      type: array
      description: Names of nodes, each once.
      x-kubernetes-list-type: set
      items:
        type: string
    {{- include "inplaced.schema.selectorParts" . | nindent 4 }}
podSelector:
  type: object
  description: Which nodes, by the pods of the job's namespace that run there. Not beside selector.
  x-kubernetes-map-type: atomic
  properties:
    {{- include "inplaced.schema.selectorParts" . | nindent 4 }}
parallelism:
  description: >-
    How many nodes pull at the same time: an integer, where 0 pauses the job, or a percentage of the nodes,
    rounded up.
  x-kubernetes-int-or-string: true
  anyOf:
    - type: integer
    - type: string
  default: 1
  x-kubernetes-validations:
    - rule: "type(self) == int ? self >= 0 : self.matches('^(100|[0-9]{1,2})%$')"
      message: "is not a parallelism; allowed: an integer from 0, or a percentage from 0% to 100%"
pullPolicy:
  type: object
  description: How one attempt is bounded, and how many follow it.
  default: {}
  properties:
    timeoutSeconds:
      type: integer
      format: int32
      description: Longest one attempt may take; when absent, 600 or activeDeadlineSeconds, whichever is less.
      minimum: 1
      maximum: 2147483647
    backoffLimit:
      type: integer
      format: int32
      description: Attempts after the first.
      minimum: 0
      maximum: 2147483647
      default: 3
completionPolicy:
  type: object
  description: When the job is over.
  default: {}
  x-kubernetes-validations:
    - rule: "self.type != 'Never' || !has(self.activeDeadlineSeconds)"
      message: "does not go with type Never; allowed: type Always"
      fieldPath: .activeDeadlineSeconds
      reason: FieldValueForbidden
    - rule: "self.type != 'Never' || !has(self.ttlSecondsAfterFinished)"
      message: "does not go with type Never; allowed: type Always"
      fieldPath: .ttlSecondsAfterFinished
      reason: FieldValueForbidden
  properties:
    type:
      type: string
      description: Always ends when every node is done; Never goes on to serve the nodes that come later.
      enum: [Always, Never]
      default: Always
    activeDeadlineSeconds:
      type: integer
      format: int64
      description: How long the job may take in all; what is not done then has failed. Only with Always.
      minimum: 1
      maximum: 2147483647
    ttlSecondsAfterFinished:
      type: integer
      format: int32
      description: How long the ended job stays; absent means until somebody deletes it. Only with Always.
      minimum: 0
      maximum: 2147483647
sandboxConfig:
  {{- include "inplaced.schema.sandboxConfig" . | nindent 2 }}
imagePullPolicy:
  type: string
  description: Whether an image that is on the node is pulled again.
  enum: [IfNotPresent, Always]
  default: IfNotPresent
{{- end }}

{{/* What the status of every kind ends with. */}}
{{- define "inplaced.schema.conditions" -}}
observedGeneration:
  type: integer
  format: int64
  description: The generation of the spec that this status speaks of.
conditions:
  type: array
  description: Ready, Reconciling and Stalled, as kstatus reads them.
  x-kubernetes-list-type: map
  x-kubernetes-list-map-keys: [type]
  items:
    type: object
    required: [type, status, reason]
    properties:
      type:
        type: string
        description: Which aspect this is about.
      status:
        type: string
        description: Whether it holds.
        enum: ["True", "False", Unknown]
      reason:
        type: string
        description: Why, in one CamelCase word.
      message:
        type: string
        description: Why, for people.
      observedGeneration:
        type: integer
        format: int64
        description: The generation of the spec that this condition speaks of.
      lastTransitionTime:
        type: string
        format: date-time
        description: When the status last changed.
{{- end }}

{{/* What every definition of ours carries. */}}
{{- define "inplaced.crd.metadata" -}}
annotations:
  # Removing the release must not remove what people wrote.
  helm.sh/resource-policy: keep
labels:
  {{- include "inplaced.labels" . | nindent 2 }}
{{- end }}
