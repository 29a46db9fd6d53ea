{{/* Names are fixed by contract: the demo, the e2e cases and the runtime's NetworkPolicy find the operator by them. */}}
{{- define "modelward.name" -}}modelward-operator{{- end -}}

{{/* Selectors use these two labels and nothing else, so that an upgrade never changes them. */}}
{{- define "modelward.selector" -}}
app.kubernetes.io/name: {{ include "modelward.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "modelward.labels" -}}
{{ include "modelward.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: modelward
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "modelward.operatorImage" -}}
{{ .Values.operator.image | default (printf "modelward/operator:%s" .Chart.AppVersion) }}
{{- end -}}

{{- define "modelward.runtimeImage" -}}
{{ .Values.runtime.image | default (printf "modelward/runtime:%s" .Chart.AppVersion) }}
{{- end -}}

{{/* What the operator may do where it serves models. It makes Secrets for managed certificates and never reads one: pods do. */}}
{{- define "modelward.rules" -}}
# What users write. Read only: the operator never changes a spec.
- apiGroups: [modelward.dev]
  resources: [modeldeployments, privacypolicies]
  verbs: [get, list, watch]
- apiGroups: [modelward.dev]
  resources: [modeldeployments/status]
  verbs: [patch]
# Needed for ownerReferences with blockOwnerDeletion where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [modelward.dev]
  resources: [modeldeployments/finalizers]
  verbs: [update]
# The children: server-side apply needs create and patch, pruning needs delete.
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# The key of a managed certificate. Not get, list, watch, patch or delete: to take one away, the operator deletes the ConfigMap that owns it.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
# Who may call (allowedSubjects), and that the pods may ask. The API server lets the operator grant what it holds itself, below, and no more.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
# Held to be granted to allowedSubjects.
- apiGroups: [modelward.dev]
  resources: [modeldeployments/predict]
  verbs: [create]
# The one ClusterRole that it may bind without holding what is in it.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  resourceNames: [modelward-runtime-access-review]
  verbs: [bind]
# Ledgers of privacy budgets: it makes them. The rest is held to be granted to pods, and the admission policy keeps the operator from it.
- apiGroups: [modelward.dev]
  resources: [privacyledgers]
  verbs: [create, get, spend]
- apiGroups: [modelward.dev]
  resources: [privacyledgers/status]
  verbs: [update]
# What the status is told from.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
{{- end -}}

{{/* What the operator reads of the cluster as a whole, where it serves every namespace. */}}
{{- define "modelward.clusterRules" -}}
# Floors that administrators set, and the namespaces that they select by label; the tenant is a label as well.
- apiGroups: [modelward.dev]
  resources: [modelpolicies]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
{{- end -}}

{{/* Where it serves some namespaces only: each of these by itself, for its tenant. */}}
{{- define "modelward.namespaceRules" -}}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end -}}
