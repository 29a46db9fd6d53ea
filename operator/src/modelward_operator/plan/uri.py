"""Model URIs, taken apart. The schema has checked their form."""


def split_pvc(uri: str) -> tuple[str, str]:
    """Return the claim and the path below it of `pvc://CLAIM/PATH`; the path may be empty."""
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    return claim, path.strip("/")
