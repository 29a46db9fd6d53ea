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
{{ include "modelward.mirrored" (list . (.Values.operator.image | default (printf "modelward/operator:%s" .Chart.AppVersion))) }}
{{- end -}}

{{- define "modelward.runtimeImage" -}}
{{ include "modelward.mirrored" (list . (.Values.runtime.image | default (printf "modelward/runtime:%s" .Chart.AppVersion))) }}
{{- end -}}

{{- define "modelward.activatorImage" -}}
{{ with .Values.activator.image }}{{ include "modelward.mirrored" (list $ .) }}{{ else }}{{ include "modelward.runtimeImage" . }}{{ end }}
{{- end -}}

{{/* An image as the site's own registry has it. What stands before the first slash is a registry if it has a dot or a port, or is localhost. */}}
{{- define "modelward.mirrored" -}}
{{- $registry := (index . 0).Values.imageRegistry -}}
{{- $image := index . 1 -}}
{{- if $registry -}}
{{ $registry }}/{{ regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $image "" }}
{{- else -}}
{{ $image }}
{{- end -}}
{{- end -}}

{{/* Fixed as well: the operator finds the activator's pods by it, and makes it a subject of models' RoleBindings. */}}
{{- define "modelward.activator" -}}modelward-activator{{- end -}}

{{- define "modelward.activatorSelector" -}}
app.kubernetes.io/name: {{ include "modelward.activator" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "modelward.activatorLabels" -}}
{{ include "modelward.activatorSelector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: modelward
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What the operator may do where it serves models. It makes Secrets for managed certificates and never reads one: pods do. */}}
{{- define "modelward.rules" -}}
# What users write. Read only: the operator never changes a spec.
- apiGroups: [modelward.dev]
  resources: [modeldeployments, privacypolicies, costbudgets]
  verbs: [get, list, watch]
- apiGroups: [modelward.dev]
  resources: [modeldeployments/status, costbudgets/status]
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
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Autoscalers of others, for scaling.autoscaler HPA and KEDA. What they scale, they scale with rights of their own.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
# spec.exposure: routes to a Gateway, that it speaks TLS to the pods, or an Ingress. It reads where Gateways listen, and never writes one.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes, backendtlspolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways]
  verbs: [get, list, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
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
# Models' histories: an entry for each revision that has served, made once; the oldest go. What it says nobody may change, the API server
# sees to that. `patch` says whose it is: of a model that was deleted with --cascade=orphan and made anew. `record` is a verb for the
# admission policy alone: who holds it writes histories.
- apiGroups: [modelward.dev]
  resources: [modeldeployments]
  verbs: [record]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, create, patch, delete]
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
# What nodes cost, and what models have cost. `record` is a verb for the admission policy alone: who holds it keeps the ledgers.
- apiGroups: [modelward.dev]
  resources: [pricebooks]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, list, watch]
- apiGroups: [modelward.dev]
  resources: [costledgers]
  verbs: [list, create, update, delete, record]
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
