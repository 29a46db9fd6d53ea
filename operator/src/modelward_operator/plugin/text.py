"""Evidence as a page that a person reads. Called by `evidence_cli.py`."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def page(found: Json) -> str:
    """The evidence in words, the gaps last, where the eye stays. What pods say cannot begin a line of its own, nor move the cursor."""
    return "\n".join(map(_printable, _lines(found)))


def _printable(line: str) -> str:
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)


def _lines(found: Json) -> Iterator[str]:
    model = found["model"]
    yield f"Evidence about ModelDeployment {model['namespace']}/{model['name']}, read {found['time']}"
    yield f"  {model['uri']}, version {model['version'] or 'unnamed'}; generation {model['generation']}, uid {model['uid']}"
    yield ""
    yield "Conditions"
    for one in found["conditions"]:
        yield f"  {one['type']:<18} {one['status']:<8} {one['reason']}: {one['message']}"
    if policy := found.get("privacyPolicy"):
        yield ""
        yield f"PrivacyPolicy {policy['name']}, generation {policy['generation']}, uid {policy['uid']}"
    for pod in found["pods"]:
        yield ""
        yield from _pod(pod)
    yield ""
    if not found["gaps"]:
        yield "No gaps: what is declared, what was written for the pods and what the pods report agree."
        return
    yield "Gaps"
    for gap in found["gaps"]:
        yield f"  ! {gap}"


def _pod(pod: Json) -> Iterator[str]:
    yield f"Pod {pod['name']} on {pod['node'] or 'no node'}, {'ready' if pod['ready'] else 'not ready'}"
    yield f"  image       {pod['imageID'] or pod['image']}"
    if silence := pod.get("silence"):
        yield f"  silent      {silence}"
        return
    model = pod.get("model", {})
    yield f"  loaded      {model.get('digest', 'nothing')}, {model.get('sizeBytes', 0)} bytes"
    if signer := model.get("signer"):
        yield f"  signed by   {signer.get('name')} ({signer.get('fingerprint')}), checked {model.get('verifiedTime')}"
    if model.get("encrypted"):
        yield f"  opened with key {model.get('keyId')}, version {model.get('keyVersion') or 'unnamed'}"
    yield f"  policy      generation {pod.get('policyGeneration', 'none')}"
    if access := pod.get("access"):
        tls = access.get("tls")
        shown = f"TLS certificate {str(tls.get('sha256'))[:16]}… until {tls.get('notAfter')}" if tls else "no TLS"
        yield f"  access      {access.get('authentication')}, {shown}"
    if audit := pod.get("audit"):
        yield f"  audit log   {audit.get('records')} records, head {audit.get('head')}"
    if epsilon := pod.get("epsilon"):
        left = "not known yet" if epsilon.get("remaining") is None else epsilon["remaining"]
        yield f"  epsilon     {epsilon.get('spent')} spent by this pod, {left} left in the budget that it shares"
