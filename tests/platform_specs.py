"""Specs of what a platform team sets and of devices that are shared: accepted, and refused with the words that tell what to write instead.

Read by tests/integration (the API server's word) and tests/unit (the word of `parse`), as tests/specs.py is.
"""

from tests.specs import OBJECT, URI, Bad, Good

LABEL_KEY = "a key must be a name of at most 63 letters, digits, -, _ and ., after a domain"
OURS = "labels takes no key of modelward.dev, app.kubernetes.io/name, app.kubernetes.io/managed-by, pod-template-hash"
OWN = "annotations takes no key of modelward.dev, which are the operator's, and none that sets AppArmor or seccomp"
GRACE = "terminationGracePeriodSeconds must be at least drainSeconds (5 when absent), requestTimeoutSeconds (30 when absent) and 5 more"
BODY = "maxBodySize must be 1Ki or more and 1Gi or less"
BODIES = "two bodies of runtime.maxBodySize, packed and unpacked, must fit into resources.limits.memory"
IDENTITY = "serviceAccount is either name, an account that you keep, or labels and annotations for the one that the operator makes"
NVIDIA = "resourceName must be one of nvidia.com, or left out"
ONE = "count must be 1 with sharing.mode Shared and Partitioned"
PROFILE = "mode Partitioned needs the profile of a slice, for example 1g.10gb; the other modes take none"
ROLE = "eks.amazonaws.com/role-arn: 'arn:aws:iam::123456789012:role/fraud'"
ZONE = "topologyKey: topology.kubernetes.io/zone"


def runs(runtime: str) -> str:
    """Return the YAML of a spec whose serving process runs so."""
    return f"{{{URI}, runtime: {{{runtime}}}}}"


def labelled(metadata: str) -> str:
    """Return the YAML of a spec whose pods carry this."""
    return f"{{{URI}, podMetadata: {{{metadata}}}}}"


def account(account: str) -> str:
    """Return the YAML of a spec whose pods run as this."""
    return f"{{{URI}, serviceAccount: {{{account}}}}}"


def device(accelerator: str) -> str:
    """Return the YAML of a spec whose replicas have this device."""
    return f"{{{URI}, accelerator: {{{accelerator}}}}}"


def spread(constraint: str) -> str:
    """Return the YAML of a spec whose pods are spread so."""
    return f"{{{URI}, scheduling: {{topologySpreadConstraints: [{constraint}]}}}}"


PLATFORM_ACCEPTED = (
    Good("pull secrets", runs("imagePullSecrets: [{name: registry}, {name: mirror.example}]")),
    Good("upgrades that roll", runs("upgradePolicy: Rolling")),
    Good("upgrades that roll, and an image that is none", runs("upgradePolicy: Rolling, image: ''")),
    Good("upgrades that wait, with an image", runs("upgradePolicy: OnSpecChange, image: runtime:2")),
    Good("the longest request", runs("requestTimeoutSeconds: 3600, terminationGracePeriodSeconds: 3610")),
    Good("the shortest grace", runs("terminationGracePeriodSeconds: 40")),
    Good("a long drain", runs("drainSeconds: 600")),
    Good("a body as a number", runs("maxBodySize: 1024")),
    Good("the largest body", runs("maxBodySize: 1Gi")),
    Good(
        "a body that fits twice",
        f"{{{URI}, runtime: {{maxBodySize: 512Mi}}, resources: {{limits: {{memory: 1Gi}}}}}}",
    ),
    Good("a label without a domain, and one without a value", labelled("labels: {team: fraud, empty: ''}")),
    Good("a label of Kubernetes' own that is nobody's", labelled("labels: {app.kubernetes.io/part-of: fraud}")),
    Good("what a mesh and a cloud read", labelled("labels: {azure.workload.identity/use: 'true'}")),
    Good("an annotation with any text", labelled("annotations: {example.com/note: 'a: {b}, \"c\"'}")),
    Good(
        "a domain that only ends alike", labelled("labels: {notmodelward.dev/a: b}, annotations: {xmodelward.dev/a: b}")
    ),
    Good("an account by name", account("name: model-servers")),
    Good("an account of a role", account(f"annotations: {{{ROLE}}}")),
    Good("a labelled account", account("labels: {azure.workload.identity/use: 'true'}")),
    Good("whole devices", device("sharing: {mode: Exclusive}, count: 4")),
    Good("a turn on a device", device("sharing: {mode: Shared}")),
    Good("a turn under the device's own name", device("sharing: {mode: Shared}, resourceName: nvidia.com/gpu")),
    Good("a turn on a slice", device("sharing: {mode: Shared}, resourceName: nvidia.com/mig-1g.10gb.shared")),
    Good("a slice", device("sharing: {mode: Partitioned, profile: 1g.10gb}")),
    Good("a slice with media engines", device("sharing: {mode: Partitioned, profile: 1g.10gb.me}")),
    Good(
        "a slice, said twice",
        device("sharing: {mode: Partitioned, profile: 3g.40gb}, resourceName: nvidia.com/mig-3g.40gb"),
    ),
    Good("a device that is large enough", device("memory: 20Gi")),
    Good("a device of others", device("resourceName: amd.com/gpu, count: 2")),
    Good(
        "spread over zones hard and over nodes softly",
        spread(
            f"{{maxSkew: 1, {ZONE}, whenUnsatisfiable: DoNotSchedule, minDomains: 3, nodeAffinityPolicy: Ignore, "
            "nodeTaintsPolicy: Honor}, "
            "{maxSkew: 2, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway}"
        ),
    ),
    Good(
        "one topology hard and softly",
        spread(
            f"{{maxSkew: 3, {ZONE}, whenUnsatisfiable: DoNotSchedule}}, {{maxSkew: 1, {ZONE}, whenUnsatisfiable: ScheduleAnyway}}"
        ),
    ),
)

PLATFORM_REFUSED = (
    Bad(
        "a pull secret that no Secret can be",
        runs("imagePullSecrets: [{name: A}]"),
        "spec.runtime.imagePullSecrets[0].name",
        OBJECT,
    ),
    Bad(
        "a pull secret twice",
        runs("imagePullSecrets: [{name: a}, {name: a}]"),
        "spec.runtime.imagePullSecrets",
        "uplicate",
        bound=True,
    ),
    Bad(
        "upgrades of an image of one's own",
        runs("upgradePolicy: Rolling, image: runtime:2"),
        "spec.runtime",
        "leave image out",
    ),
    Bad(
        "an upgrade policy that nobody knows",
        runs("upgradePolicy: Always"),
        "spec.runtime.upgradePolicy",
        'supported values: "OnSpecChange", "Rolling"',
        bound=True,
    ),
    Bad(
        "no time for a request",
        runs("requestTimeoutSeconds: 0"),
        "spec.runtime.requestTimeoutSeconds",
        "should be greater than or equal to 1",
        bound=True,
    ),
    Bad(
        "more than an hour for a request",
        runs("requestTimeoutSeconds: 3601"),
        "spec.runtime.requestTimeoutSeconds",
        "should be less than or equal to 3600",
        bound=True,
    ),
    Bad("a body too small for a header", runs("maxBodySize: 1k"), "spec.runtime", BODY),
    Bad("a body over a gibibyte", runs("maxBodySize: 1025Mi"), "spec.runtime", BODY),
    Bad("a body that is no size", runs("maxBodySize: large"), "spec.runtime.maxBodySize", "should match", bound=True),
    Bad(
        "bodies that do not fit",
        f"{{{URI}, runtime: {{maxBodySize: 600Mi}}, resources: {{limits: {{memory: 1Gi}}}}}}",
        "spec",
        BODIES,
    ),
    Bad(
        "a drain that loses calls",
        runs("drainSeconds: 0"),
        "spec.runtime.drainSeconds",
        "should be greater than or equal to 5",
        bound=True,
    ),
    Bad("a grace that cuts requests off", runs("terminationGracePeriodSeconds: 39"), "spec.runtime", GRACE),
    Bad(
        "a grace that cuts long requests off",
        runs("requestTimeoutSeconds: 60, terminationGracePeriodSeconds: 69"),
        "spec.runtime",
        GRACE,
    ),
    Bad(
        "a grace that a long drain uses up",
        runs("drainSeconds: 60, terminationGracePeriodSeconds: 90"),
        "spec.runtime",
        GRACE,
    ),
    Bad("our own label", labelled("labels: {modelward.dev/model: other}"), "spec.podMetadata.labels", OURS),
    Bad("a label below our domain", labelled("labels: {x.modelward.dev/a: b}"), "spec.podMetadata.labels", OURS),
    Bad(
        "another manager",
        labelled("labels: {app.kubernetes.io/managed-by: me}"),
        "spec.podMetadata.labels",
        OURS,
    ),
    Bad(
        "the activator's name",
        labelled("labels: {app.kubernetes.io/name: modelward-activator}"),
        "spec.podMetadata.labels",
        OURS,
    ),
    Bad("a ReplicaSet's label", labelled("labels: {pod-template-hash: a}"), "spec.podMetadata.labels", OURS),
    Bad("a key with a space", labelled("labels: {'a b': c}"), "spec.podMetadata.labels", LABEL_KEY),
    Bad("a value that is none", labelled("labels: {a: b c}"), "spec.podMetadata.labels", "a value must be letters"),
    Bad(
        "our own annotation",
        labelled("annotations: {modelward.dev/revision: a}"),
        "spec.podMetadata.annotations",
        OWN,
    ),
    Bad(
        "no AppArmor",
        labelled("annotations: {container.apparmor.security.beta.kubernetes.io/runtime: unconfined}"),
        "spec.podMetadata.annotations",
        OWN,
    ),
    Bad(
        "no seccomp",
        labelled("annotations: {seccomp.security.alpha.kubernetes.io/pod: unconfined}"),
        "spec.podMetadata.annotations",
        OWN,
    ),
    Bad(
        "an annotation without end",
        labelled(f"annotations: {{a: {'b' * 4097}}}"),
        "spec.podMetadata.annotations.a",
        "may not be more than 4096",
        bound=True,
    ),
    Bad(
        "labels without end",
        labelled(f"labels: {{{', '.join(f'l{n}: a' for n in range(33))}}}"),
        "spec.podMetadata.labels",
        "must have at most 32 items",
        bound=True,
    ),
    Bad("an account that is nothing", account(""), "spec.serviceAccount", IDENTITY),
    Bad("an account of two owners", account(f"name: a, annotations: {{{ROLE}}}"), "spec.serviceAccount", IDENTITY),
    Bad("an account that no account can be", account("name: 'a b'"), "spec.serviceAccount.name", OBJECT),
    Bad(
        "our own annotation of an account",
        account("annotations: {modelward.dev/applied: a}"),
        "spec.serviceAccount.annotations",
        OWN,
    ),
    Bad("our own label of an account", account("labels: {modelward.dev/model: a}"), "spec.serviceAccount.labels", OURS),
    Bad(
        "devices of others shared",
        device("sharing: {mode: Shared}, resourceName: amd.com/gpu"),
        "spec.accelerator",
        NVIDIA,
    ),
    Bad("memory of devices of others", device("memory: 1Gi, resourceName: amd.com/gpu"), "spec.accelerator", NVIDIA),
    Bad(
        "a whole device that is shared",
        device("sharing: {mode: Exclusive}, resourceName: nvidia.com/gpu.shared"),
        "spec.accelerator",
        "sharing.mode Exclusive asks for whole devices",
    ),
    Bad(
        "a whole device that is a slice",
        device("sharing: {mode: Exclusive}, resourceName: nvidia.com/mig-1g.10gb"),
        "spec.accelerator",
        "sharing.mode Exclusive asks for whole devices",
    ),
    Bad(
        "a turn on what is a slice of its own",
        device("sharing: {mode: Shared}, resourceName: nvidia.com/mig-1g.10gb"),
        "spec.accelerator",
        "sharing.mode Shared asks for a turn on a device",
    ),
    Bad(
        "another slice than the profile",
        device("sharing: {mode: Partitioned, profile: 1g.10gb}, resourceName: nvidia.com/mig-2g.20gb"),
        "spec.accelerator",
        "sharing.mode Partitioned asks for nvidia.com/mig- and its profile",
    ),
    Bad("two shares", device("sharing: {mode: Shared}, count: 2"), "spec.accelerator", ONE),
    Bad("two slices", device("sharing: {mode: Partitioned, profile: 1g.10gb}, count: 2"), "spec.accelerator", ONE),
    Bad("a slice of no size", device("sharing: {mode: Partitioned}"), "spec.accelerator.sharing", PROFILE),
    Bad(
        "a whole device of a size",
        device("sharing: {mode: Exclusive, profile: 1g.10gb}"),
        "spec.accelerator.sharing",
        PROFILE,
    ),
    Bad(
        "a profile as nvidia-smi writes it",
        device("sharing: {mode: Partitioned, profile: 'MIG 1g.10gb'}"),
        "spec.accelerator.sharing.profile",
        "profile must be a MIG profile as the node advertises it",
    ),
    Bad("a mode that is none", device("sharing: {}"), "spec.accelerator.sharing.mode", "Required value", bound=True),
    Bad("next to no memory", device("memory: 1Ki"), "spec.accelerator", "memory is below 1Mi"),
    Bad(
        "no skew",
        spread(f"{{maxSkew: 0, {ZONE}, whenUnsatisfiable: DoNotSchedule}}"),
        "spec.scheduling.topologySpreadConstraints[0].maxSkew",
        "should be greater than or equal to 1",
        bound=True,
    ),
    Bad(
        "nothing said of what cannot be",
        spread(f"{{maxSkew: 1, {ZONE}}}"),
        "spec.scheduling.topologySpreadConstraints[0].whenUnsatisfiable",
        "Required value",
        bound=True,
    ),
    Bad(
        "domains that nobody waits for",
        spread(f"{{maxSkew: 1, {ZONE}, whenUnsatisfiable: ScheduleAnyway, minDomains: 2}}"),
        "spec.scheduling.topologySpreadConstraints[0]",
        "minDomains needs whenUnsatisfiable DoNotSchedule",
    ),
    Bad(
        "one constraint twice",
        spread(", ".join([f"{{maxSkew: 1, {ZONE}, whenUnsatisfiable: DoNotSchedule}}"] * 2)),
        "spec.scheduling.topologySpreadConstraints",
        "uplicate",
        bound=True,
    ),
)
