{{- /*
What the operator may do. Its tests compare this with the requests that it makes: each rule is used, and no other is needed.
It may read no Secret: a job's credentials are named in its pods and read by the kubelet alone.
*/}}
{{- define "sro-operator.rules" -}}
- apiGroups: [sro.dev]
  resources: [srojobs]
  # delete: when ttlSecondsAfterFinished has passed.
  verbs: [get, list, watch, delete]
- apiGroups: [sro.dev]
  resources: [srojobs/status]
  # Also what the Role of each trainer grants: nobody may grant what they do not hold.
  verbs: [patch]
{{- if .Values.rbac.finalizers }}
- apiGroups: [sro.dev]
  resources: [srojobs/finalizers]
  # Its children block their SROJob's deletion in the foreground, which some API servers count as a change to it.
  verbs: [update]
{{- end }}
- apiGroups: [batch]
  resources: [jobs]
  # Server-side apply is a patch, and a create where the object is new.
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [configmaps]
  # delete: the run configurations of attempts that are no longer kept.
  verbs: [create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
