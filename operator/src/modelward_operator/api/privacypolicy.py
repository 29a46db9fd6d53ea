"""PrivacyPolicy, the kind that a compliance officer applies: what a model may receive, return, log and keep.

Namespaced, named by `spec.privacy.policyRef` of a ModelDeployment. `policies/privacy` turns it into sections of policy.json, which the
runtime enforces on every request; what each field protects from, what not, and what it costs is in FIELDS.md there.
The sections are in `privacyinput.py`, `privacyoutput.py` and `auditing.py`.
"""

from typing import Final

from pydantic import Field

from modelward_operator.api.auditing import Audit, Logging
from modelward_operator.api.privacyinput import Input
from modelward_operator.api.privacyoutput import Output
from modelward_operator.api.types import Rule, Struct

PRIVACY_KIND: Final = "PrivacyPolicy"
PRIVACY_PLURAL: Final = "privacypolicies"


class PrivacyPolicySpec(Struct):
    """What the models that name this policy may receive, return, log and keep."""

    rules = (
        Rule(
            "has(self.input) || has(self.output) || has(self.logging) || has(self.audit)",
            lambda it: it.input or it.output or it.logging or it.audit,
            "a policy must say something: set input, output, logging or audit",
        ),
    )

    input: Input | None = Field(default=None, description="What may be received. Absent: what the model takes.")
    output: Output | None = Field(default=None, description="What may be returned. Absent: what the model says.")
    logging: Logging | None = Field(default=None, description="What of requests is logged. Absent: nothing.")
    audit: Audit | None = Field(default=None, description="A chained record of every call. Absent: none.")
