"""E-mail addresses: what stands before and after an `@`, as people and programs write them.

Source: RFC 5321 section 4.1.2 (a local part without quotes, at most 64; labels of at most 63), RFC 6531 (letters beyond ASCII), and a last
label of two letters or more. What stands next to it does not make it something else: an address ends with the last label that is
one, and the underscores of `_jo@example.com_`, which are somebody's italics, are not of it. Quoted local parts and address
literals (`user@[192.0.2.1]`) are not found, nor what spells the `@` out.
"""

import re

from modelward_runtime.privacy.pii.fold import Folded, Span

_LOCAL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+/=?^_`{|}~.-\x80"
_LONGEST_LOCAL = 64
# The `@` comes first in the pattern, so that the search skips to it; nothing behind it can hold another `@`, so that no
# character is read more than a fixed number of times.
_DOMAIN = re.compile(
    rb"@(?:[A-Za-z0-9\x80](?:[A-Za-z0-9\x80_-]{0,62}+)\.){1,8}(?:xn--[A-Za-z0-9-]{2,59}+|[A-Za-z\x80]{2,63}+)"
)


def find(folded: Folded) -> list[Span]:
    """Where the text has e-mail addresses."""
    text, spans = folded.text, []
    for match in _DOMAIN.finditer(text):
        left = text[max(match.start() - _LONGEST_LOCAL, 0) : match.start()]
        local = left[len(left.rstrip(_LOCAL)) :].lstrip(b".-/=&?'`|")
        local = local.lstrip(b"_.-") or local
        if local and not local.endswith(b"."):
            spans.append((match.start() - len(local), match.end()))
    return spans
