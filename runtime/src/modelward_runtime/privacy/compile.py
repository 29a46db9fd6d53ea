"""Makes rules of a policy for one model; everything that could be wrong is found here, when the policy is taken, and all at once.

Called through `serve.py` when the model is loaded and whenever policy.json changes. What it accepts holds for every request: a tensor or
column that the model lacks, a rule that its datatype cannot have, a rule that another makes void, are refused with the path of
the field. `compile_input.py` and `compile_output.py` do the two halves; this is their frame, and the only I/O of the package: reading the
key for hashes (and in `epsilon/` the one that names subjects).
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.hmackey import KeyUnusable, read_key
from modelward_runtime.model import Face, Model
from modelward_runtime.privacy import compile_input, compile_output
from modelward_runtime.privacy.config import Privacy
from modelward_runtime.privacy.problems import Problems
from modelward_runtime.privacy.rules import Rules, ungoverned

if TYPE_CHECKING:
    from modelward_runtime.epsilon.promise import Promise


def compile_rules(
    privacy: Privacy | None,
    model: Model,
    read: Callable[[str], bytes] = read_key,
    *,
    before: "Promise | None" = None,
) -> Rules:
    """The rules of a policy for a model; none without a policy. LoadError PolicyUnsatisfiable lists all that does not fit.

    `before` is the promise of the rules that these replace: if it is the same, what it has reserved is not lost.
    """
    if privacy is None:
        return ungoverned(model)
    problems = Problems("privacy")
    inputs = compile_input.compile_inputs(
        privacy.input, model, problems.at("input"), _read_key(privacy, problems, read)
    )
    outputs = compile_output.compile_outputs(privacy.output, model, problems.at("output"))
    promise = compile_output.compile_promise(
        privacy.output, model, outputs, problems.at("output.differentialPrivacy"), before
    )
    if problems.found:
        raise _unsatisfiable(privacy, model, problems.found)
    face = Face(
        model.name,
        model.version,
        model.execution_provider,
        tuple(spec for spec in model.inputs if spec.name not in inputs.dropped),
        tuple(spec for spec in model.outputs if spec.name not in outputs.withheld),
        ignored=inputs.dropped,
        withheld=outputs.withheld,
    )
    return Rules(
        face,
        inputs.steps,
        outputs.steps,
        privacy.input.max_elements,
        privacy.input.max_text_bytes,
        inputs.searches_text,
        privacy.policy,
        privacy.policy_generation,
        promise,
    )


def _read_key(privacy: Privacy, problems: Problems, read: Callable[[str], bytes]) -> bytes | None:
    """The key for hashes, where one is named."""
    if privacy.input.hash_key_file is None:
        return None
    try:
        return read(privacy.input.hash_key_file)
    except KeyUnusable as error:
        problems.at("input.hashKeyFile").add(str(error))
        return None


def _unsatisfiable(privacy: Privacy, model: Model, found: Iterable[str]) -> LoadError:
    message = (
        f"PrivacyPolicy '{privacy.policy}' (generation {privacy.policy_generation}) does not fit model '{model.name}': "
        + "; ".join(found)
    )
    return LoadError(LoadReason.POLICY_UNSATISFIABLE, message, "load", permanent=False)
