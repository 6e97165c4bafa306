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
  verbs: [get, patch]
- apiGroups: [batch]
  resources: [jobs]
  # Server-side apply is a patch, and a create where the object is new.
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}
