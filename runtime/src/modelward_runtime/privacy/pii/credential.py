"""Credentials: tokens whose issuers gave them a form to be found by, private keys, and what is assigned to the name of a secret.

Sources of the forms:
    AWS access key IDs         IAM User Guide, "Unique identifiers" (AKIA, ASIA, …, 16 of base 32)
    JSON Web Tokens            RFC 7519, RFC 7515 section 7.1: `eyJ` is `{"` in base64url, header and payload both begin with it
    private keys               RFC 7468 (PEM), and the forms of OpenSSH and PGP
    GitHub                     "Behind GitHub's new authentication token formats" (ghp_, gho_, ghu_, ghs_, ghr_, github_pat_)
    GitLab, npm, Hugging Face  their documentation of prefixes (glpat-, npm_, hf_)
    Slack                      api.slack.com, "Token types" (xoxb-, xoxp-, xoxa-, …)
    Google API keys            Google Cloud, "API keys" (AIza and 35 more)
    Stripe, OpenAI, Anthropic  their documentation of prefixes (sk_live_, rk_live_, sk-, sk-ant-)
    Basic and Bearer           RFC 7617, RFC 6750; a password in a URL: RFC 3986 section 3.2.1

A secret without any such form (a bare AWS secret key, a bare password) cannot be told from other text and is not found.

Speed: each pattern begins with one rare character or one word, to which the search skips; what stands before is looked at from there. No
character is read more than a fixed number of times: a token cannot begin inside another one, and what is not bounded ends
at a character that the next one would have to begin with.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from modelward_runtime.privacy.pii.fold import Folded, Span


@dataclass(frozen=True)
class Form:
    """One form; a match begins `behind` characters before where the pattern matches. `lowered`: in the text in small letters.

    Without `anchor`, a character, there is none: what costs nothing is asked first.
    """

    anchor: bytes
    pattern: re.Pattern[bytes]
    behind: int = 0
    lowered: bool = False


def _token(prefix: bytes, rest: bytes, *, part: bytes = rb"[A-Za-z0-9]", width: int = 0) -> Form:
    """A token behind a prefix whose last character is rare; no `part` of a token stands before. `width`: of a prefix that is a pattern."""
    pattern = prefix[-1:] + rb"(?<=(?<!" + part + rb")" + prefix + rb")" + rest
    return Form(prefix[-1:], re.compile(pattern), (width or len(prefix)) - 1)


def _word(pattern: bytes) -> Form:
    return Form(pattern[:1], re.compile(pattern), lowered=True)


_SIGN = rb"[\"']?[ \t]{0,4}+(?:=>?|:=?)[ \t]{0,4}+"
_NO_SECRET = rb"(?!required|optional|string|null|none|true|false|reset|changed|expired|invalid|incorrect|[\[<*$({])"
_SECRET = rb"(?:\"[^\"\x00\n]{4,512}+\"|'[^'\x00\n]{4,512}+'|[^\s\"'\x00,;&<>]{4,512}+)"
_ASSIGNED = rb"[a-z_-]{0,24}+" + _SIGN + _NO_SECRET + _SECRET
_BASE64URL = rb"[A-Za-z0-9_-]"
FORMS = (
    _token(b"AK", rb"IA[A-Z2-7]{16}(?![A-Za-z0-9])"),  # AWS, long-lived
    _token(b"AS", rb"IA[A-Z2-7]{16}(?![A-Za-z0-9])"),  # AWS, temporary
    _token(
        b"eyJ", _BASE64URL + rb"{8,}+\.eyJ" + _BASE64URL + rb"{4,}+\." + _BASE64URL + rb"*+", part=_BASE64URL
    ),  # JWT
    _token(
        b"-----B",
        rb"EGIN [A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?-----(?:[^\x00-]++|-(?!----))*+(?:-----END [A-Z0-9 ]{0,40}-----)?",
        part=b"-",
    ),
    _token(b"gh[pousr]_", rb"[A-Za-z0-9]{36,255}+", width=4),  # GitHub
    _token(b"github_pat_", rb"[A-Za-z0-9_]{36,255}+"),
    _token(b"glpat-", rb"[A-Za-z0-9_.-]{20,64}+", part=rb"[A-Za-z0-9_.-]"),  # GitLab
    _token(b"xox", rb"[abeoprs]-[A-Za-z0-9-]{10,255}+", part=rb"[A-Za-z0-9-]"),  # Slack
    _token(b"AIz", rb"a" + _BASE64URL + rb"{35}(?![A-Za-z0-9_-])", part=_BASE64URL),  # Google
    _token(b"[sr]k_live_", rb"[A-Za-z0-9]{16,255}+", width=8),  # Stripe
    _token(b"sk-", rb"(?=[A-Za-z_-]{0,64}[0-9])[A-Za-z0-9_-]{20,255}+", part=_BASE64URL),  # OpenAI, Anthropic
    _token(b"npm_", rb"[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    _token(b"hf_", rb"[A-Za-z0-9]{34}(?![A-Za-z0-9])"),
    _word(rb"bearer [a-z0-9._~+/-]{16,2048}+=*+"),
    _word(rb"basic (?=[a-z+/]{0,512}+[0-9=])[a-z0-9+/]{12,1024}+=*+"),
    _word(rb"://[^\s/:@\x00]{1,128}+:[^\s/@\x00]{1,256}+@"),  # a URL with a password
    _word(rb"pass(?:w(?:or)?d|wort|phrase)" + _ASSIGNED),
    _word(rb"pwd" + _ASSIGNED),
    _word(rb"secret" + _ASSIGNED),
    _word(rb"token" + _ASSIGNED),
    _word(rb"apikey" + _ASSIGNED),
    _word(rb"_key(?<=(?:api|ess|ate)_key)" + _ASSIGNED),  # api_key, access_key, private_key
    _word(rb"-key(?<=(?:api|ess|ate)-key)" + _ASSIGNED),
)


def find(folded: Folded) -> list[Span]:
    """Where the text has credentials."""
    return list(search(folded))


def search(folded: Folded) -> Iterator[Span]:
    """The same one by one, form by form."""
    for form in FORMS:
        text = folded.lowered if form.lowered else folded.text
        if form.anchor in text:
            for match in form.pattern.finditer(text):
                yield match.start() - form.behind, match.end()
