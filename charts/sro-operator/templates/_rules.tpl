{{- /*
What the operator may do. Its tests compare this with the requests that it makes: each rule is used, and no other is needed.
It may read no Secret: a job's credentials are named in its pods and read by the kubelet alone.
*/}}
{{- define "sro-operator.rules" -}}
- apiGroups: [sro.dev]
  resources: [srojobs]
  # delete: when ttlSecondsAfterFinished has passed.
  verbs: [list, watch, delete]
- apiGroups: [sro.dev]
  resources: [srojobs/status]
  verbs: [patch]
{{- if .Values.rbac.finalizers }}
- apiGroups: [sro.dev]
  resources: [srojobs/finalizers]
  # Its children block their SROJob's deletion in the foreground, which some API servers count as a change to it.
  verbs: [update]
{{- end }}
- apiGroups: [batch]
  resources: [jobs]
  # patch: what somebody edits is put right.
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  # list and watch: what somebody deletes or edits is put right.
  verbs: [list, watch, create, patch]
- apiGroups: [scheduling.k8s.io, scheduling.x-k8s.io, scheduling.volcano.sh]
  # Of attempts that start all their pods or none. Asked for only where the cluster has them.
  resources: [podgroups]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  # list: why the Job controller may not make pods is told in its events alone.
  verbs: [list, create]
{{- end }}

{{- /*
What the pods of jobs may do, whatever account they run as: the right to report, without which job is whose. Which job a pod may
report of, and what of it, is for the admission policy to say.
*/}}
{{- define "sro-operator.trainerRules" -}}
- apiGroups: [sro.dev]
  resources: [srojobs/status]
  verbs: [patch]
{{- end }}

{{- /* The Lease by which replicas elect the one that works: in the operator's own namespace, by name. */}}
{{- define "sro-operator.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "sro-operator.fullname" . }}]
  verbs: [get, update]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  # A name cannot be given here: the object has none yet.
  verbs: [create]
{{- end }}
