"""Ways to tamper with a sealed folder, each named: for the tamper suite and for whatever else must refuse every one of them.

`mutations(victim, others)` yields (class, description, apply). `apply(folder)` changes a copy of the victim's folder in place; the
copy must not open afterwards. `older_sealing` is the one class that only a declared digest refuses.

`victim` has the files of `FILES`; `others` are valid folders that must not lend it anything.
"""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from modelward_runtime.store.kek.secret import SecretFile
from modelward_runtime.store.sealed import canonical, keys, opening, signature
from modelward_runtime.store.sealed.stream import HEADER, SEGMENT
from modelward_runtime.store.sealed.writing import Identity, keys_files
from tests.sealed_folders import IDENTITY, Sealed, make_sealed, random_like, signing_key

SMALL, LARGE = "data/0", "data/1"
FILES = {
    "a/small.bin": b"a file of one short segment",
    "model.onnx.data": random_like("weights")(2 * SEGMENT + 500_000),  # three segments
    "tail.bin": b"",
}
NAMES = ("manifest.json", "model.sig", "keys.json", "keys.sig", "data/0", "data/1", "data/2")
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Apply = Callable[[Path], object]


def bound(function: Callable[..., Any], **given: Any) -> Callable[[Any], Any]:
    """The function of its first argument: a loop's variables as they are now."""
    return lambda first: function(first, **given)


class Mutation(NamedTuple):
    """`kind` is the class; `apply` changes a copy of the folder."""

    kind: str
    description: str
    apply: Apply


@dataclass(frozen=True)
class Others:
    """Valid folders of other identities, or of another time, sealed with the same keys by the same signer."""

    tenant: Sealed
    model: Sealed
    version: Sealed
    again: Sealed  # the same identity and files, sealed another time: another data key
    stranger: Sealed  # by a signer who is not trusted


def make_victim(home: Path) -> tuple[Sealed, Others]:
    """The folder to tamper with, and those it is mixed with."""

    def other(name: str, identity: Identity = IDENTITY, signer: str = "ci") -> Sealed:
        return make_sealed(home, FILES, name=name, identity=identity, signer=signer, seed=name)

    return make_sealed(home, FILES, name="victim"), Others(
        tenant=other("tenant", replace(IDENTITY, tenant="another")),
        model=other("model", replace(IDENTITY, model="another")),
        version=other("version", replace(IDENTITY, version="6")),
        again=other("again"),
        stranger=other("stranger", signer="stranger"),
    )


class Copies:
    """Fresh copies of the victim, one at a time. The large file is linked, and copied anew only when a mutation has written to it."""

    def __init__(self, victim: Sealed, home: Path) -> None:
        self._victim = victim.folder
        self._home = home
        self._large = home / "large"
        self._stamp = (0, 0)

    def fresh(self) -> Path:
        """A copy with nothing changed; the former one is gone."""
        folder = self._home / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        if self._now() != self._stamp:
            shutil.copyfile(self._victim / LARGE, self._large)
            os.utime(self._large, ns=(0, 0))  # long ago, so that a write is seen however soon it comes
            self._stamp = self._now()
        (folder / "data").mkdir(parents=True)
        for name in NAMES:
            if name == LARGE:
                (folder / name).hardlink_to(self._large)
            else:
                shutil.copyfile(self._victim / name, folder / name)
        return folder

    def _now(self) -> tuple[int, int]:
        if not self._large.exists():
            return (0, -1)
        info = self._large.stat()
        return info.st_size, info.st_mtime_ns


def mutations(victim: Sealed, others: Others, *, every: int = 1, masks: int = 1) -> Iterator[Mutation]:
    """All of them. With `every` = n, of the flips of single bytes one in n. `masks`: in how many ways a byte is flipped, at most three."""
    yield from _flips(victim, every, masks)
    yield from _cuts(victim)
    yield from _segments()
    yield from _swaps()
    yield from _strangers(others)
    yield from _manifest(victim, others)
    yield from _bundles()
    yield from _spellings()
    yield from _file_set()
    yield from _keys(victim, others)
    yield from _insiders(victim)


def _flips(victim: Sealed, every: int, masks: int) -> Iterator[Mutation]:
    for name in NAMES:
        size = (victim.folder / name).stat().st_size
        is_small = size < 20_000
        for place in range(0, size, every) if is_small else _telling_places(size):
            for mask in (1 << place % 8, 0xFF, 1 << (place + 4) % 8)[: masks if is_small else 1]:
                yield Mutation(f"a byte of {name} flipped", f"byte {place} ^ {mask:#x}", _flip(name, place, mask))


def _telling_places(size: int) -> list[int]:
    """In a large file: all of the header, around every border of segments and the tags, and a spread of the rest."""
    near = [border + step for border in range(0, size + SEGMENT, SEGMENT) for step in range(-20, 20)]
    spread = range(0, size, size // 100)
    tags = range(size - 20, size)
    return sorted({place for place in (*range(HEADER + 20), *near, *spread, *tags) if 0 <= place < size})


def _flip(name: str, place: int, mask: int) -> Apply:
    def apply(folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ mask]))

    return apply


def _cuts(victim: Sealed) -> Iterator[Mutation]:
    for name in NAMES:
        size = (victim.folder / name).stat().st_size
        lengths = {0, 1, size // 2, size - 1, size - 16, HEADER, *range(SEGMENT, size, SEGMENT)}
        for length in sorted(length for length in lengths if 0 <= length < size):
            yield Mutation(
                "a file cut", f"{name} to {length} bytes", _change(name, bound(lambda c, n: c[:n], n=length))
            )
        for extra in (b"\0", b"\n", b" ", b"{}", bytes(SEGMENT)):
            yield Mutation(
                "a file extended", f"{name} by {extra[:4]!r}", _change(name, bound(lambda c, e: c + e, e=extra))
            )
        yield Mutation(
            "a byte taken out",
            f"the middle one of {name}",
            _change(name, lambda c: c[: len(c) // 2] + c[len(c) // 2 + 1 :]),
        )
        yield Mutation("a byte put in front", name, _change(name, lambda c: b"\0" + c))


def _change(name: str, how: Callable[[bytes], bytes]) -> Apply:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(how((folder / name).read_bytes()))

    return apply


def _segments() -> Iterator[Mutation]:
    def pieces(content: bytes) -> list[bytes]:
        return [content[at : at + SEGMENT] for at in range(0, len(content), SEGMENT)]

    def body(content: bytes) -> bytes:
        """The segments without the header."""
        return content[HEADER:]

    orders: dict[str, tuple[int, ...]] = {"1 0 2": (1, 0, 2), "0 2 1": (0, 2, 1), "2 1 0": (2, 1, 0)}
    for told, order in orders.items():
        yield Mutation(
            "segments reordered", told, _change(LARGE, bound(lambda c, o: b"".join(pieces(c)[n] for n in o), o=order))
        )
    for told, order in dict[str, tuple[int, ...]](
        {"0 0 2": (0, 0, 2), "1 1 2": (1, 1, 2), "0 1 1 2": (0, 1, 1, 2)}
    ).items():
        yield Mutation(
            "a segment doubled", told, _change(LARGE, bound(lambda c, o: b"".join(pieces(c)[n] for n in o), o=order))
        )
    for told, order in dict[str, tuple[int, ...]]({"0 2": (0, 2), "0 1": (0, 1), "1 2": (1, 2), "0": (0,)}).items():
        yield Mutation(
            "a segment left out", told, _change(LARGE, bound(lambda c, o: b"".join(pieces(c)[n] for n in o), o=order))
        )
    yield Mutation(
        "a header of another stream",
        "data/0's",
        lambda f: _join(f, LARGE, lambda c: _read(f, SMALL)[:HEADER] + body(c)),
    )
    yield Mutation("a stream emptied", "zeros of the same size", _change(LARGE, lambda c: bytes(len(c))))


def _read(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


def _join(folder: Path, name: str, how: Callable[[bytes], bytes]) -> None:
    (folder / name).write_bytes(how(_read(folder, name)))


def _swaps() -> Iterator[Mutation]:
    for index, one in enumerate(NAMES):
        for other in NAMES[index + 1 :]:
            yield Mutation("two files swapped", f"{one} and {other}", bound(_swap, one=one, other=other))
            yield Mutation(
                "a file in place of another",
                f"{one} as {other}",
                bound(lambda f, a, b: shutil.copy(f / a, f / b), a=one, b=other),
            )


def _swap(folder: Path, one: str, other: str) -> None:
    (folder / one).rename(folder / "swapping")
    (folder / other).rename(folder / one)
    (folder / "swapping").rename(folder / other)


def _strangers(others: Others) -> Iterator[Mutation]:
    for who, other in others.__dict__.items():
        for name in NAMES:
            yield Mutation(
                f"a file of a valid folder: {_WHO[who]}",
                name,
                bound(lambda f, o, n: shutil.copy(o.folder / n, f / n), o=other, n=name),
            )
        for told, names in {
            "keys.json and keys.sig": NAMES[2:4],
            "manifest.json and model.sig": NAMES[:2],
            "all data": NAMES[4:],
        }.items():
            yield Mutation(
                f"files of a valid folder: {_WHO[who]}",
                told,
                bound(lambda f, o, n: _copy(o.folder, f, n), o=other, n=names),
            )
        if who != "again":
            yield Mutation(
                "a whole valid folder in its place", _WHO[who], bound(lambda f, o: _copy(o.folder, f, NAMES), o=other)
            )


def older_sealing(others: Others) -> Mutation:
    """Not among `mutations`: valid in itself, so that nothing but the digest in the spec tells it from the newer one."""
    return Mutation(
        "an older sealing of the same tenant, name and version in its place",
        _WHO["again"],
        lambda folder: _copy(others.again.folder, folder, NAMES),
    )


_WHO = {
    "tenant": "another tenant's",
    "model": "another model's",
    "version": "an older version",
    "again": "the same model, sealed another time",
    "stranger": "a stranger's",
}


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    for name in names:
        shutil.copy(source / name, target / name)


def _manifest(victim: Sealed, others: Others) -> Iterator[Mutation]:
    """Changes of the manifest itself, as they are, re-signed by a stranger, and for what its form forbids, by a trusted signer."""
    zeros = "0" * 64
    changes: dict[str, Callable[[Any], object]] = {
        "tenant": lambda m: m.update(tenant="another"),
        "model": lambda m: m.update(model="another"),
        "version": lambda m: m.update(version="8"),
        "commitment": lambda m: m.update(keyCommitment=zeros),
        "path": lambda m: m["files"][0].update(path="a/other.bin"),
        "sha256": lambda m: m["files"][0].update(sha256=zeros),
        "size": lambda m: m["files"][0].update(size=m["files"][0]["size"] + 1),
        "plaintextSize": lambda m: m["files"][0].update(plaintextSize=1),
        "a file less": lambda m: m["files"].pop(),
        "an older format": lambda m: m.update(format="modelward.sealed/v0"),
    }
    for told, change in changes.items():
        yield Mutation("a manifest field changed", told, bound(_rewrite, name="manifest.json", change=change))
        yield Mutation(
            "a manifest field changed and signed by a stranger",
            told,
            bound(_resign, change=change, signer="stranger"),
        )
    for told, change in changes.items():
        yield Mutation(
            "a manifest field changed and signed by a trusted signer",
            told,
            bound(_resign, change=change, signer="ci"),
        )
    for path in (
        "../a",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "a/",
        ".hidden",
        "a/.git",
        "",
        "a\\b",
        "ä",
        "a\n",
        "a" * 600,
        "CON:1",
        "a\0b",
    ):
        yield Mutation(
            "a path that is none",
            repr(path),
            bound(lambda f, p: _resign(f, lambda m: m["files"][0].update(path=p), "ci"), p=path),
        )
    double = {
        "the same path twice": lambda m: m["files"][1].update(path="a/small.bin"),
        "a file below a file": lambda m: m["files"][1].update(path="a/small.bin/b"),
        "not sorted": lambda m: m["files"].reverse(),
    }
    for told, change in double.items():
        yield Mutation("paths that contradict", told, bound(_resign, change=change, signer="ci"))
    for claim in (1 << 40, 1 << 62, 1 << 63, 1 << 70, -1, 10**30):
        yield Mutation(
            "a size claim",
            f"plaintextSize {claim}",
            bound(lambda f, n: _resign(f, lambda m: m["files"][0].update(plaintextSize=n), "ci"), n=claim),
        )
        yield Mutation(
            "a size claim",
            f"both sizes, {claim}",
            bound(
                lambda f, n: _resign(f, lambda m: m["files"][0].update(plaintextSize=n, size=_stream(n)), "ci"), n=claim
            ),
        )
    yield Mutation("an unknown field", "in the manifest", lambda f: _resign(f, lambda m: m.update(note="x"), "ci"))
    yield Mutation(
        "an unknown field", "in a file", lambda f: _resign(f, lambda m: m["files"][0].update(mode="0755"), "ci")
    )
    yield Mutation("a field missing", "tenant", lambda f: _resign(f, lambda m: m.pop("tenant"), "ci"))
    values: list[Any] = [None, 1, 1.5, True, [], {}, "7\n"]
    for value in values:
        yield Mutation(
            "a field of another type",
            f"version {value!r}",
            bound(lambda f, v: _resign(f, lambda m: m.update(version=v), "ci"), v=value),
        )


def _stream(plaintext_size: int) -> int:
    return plaintext_size + HEADER + 16 * (1 + max(0, -(-(plaintext_size - SEGMENT + 56) // (SEGMENT - 16))))


def _rewrite(folder: Path, name: str, change: Callable[[Any], object]) -> bytes:
    content = json.loads(_read(folder, name))
    change(content)
    made = canonical.encode(content)
    (folder / name).write_bytes(made)
    return made


def _resign(folder: Path, change: Callable[[Any], object], signer: str) -> None:
    """Change the manifest, and make every signature and binding that a signer can make."""
    _rewrite(folder, "manifest.json", change)
    sign_again(folder, signer)


def sign_again(folder: Path, signer: str) -> None:
    """Sign what lies in the folder, and bind keys.json to the manifest that lies there."""
    names = ["manifest.json", *sorted(f"data/{file.name}" for file in (folder / "data").iterdir())]
    digests = {name: _sha(folder, name) for name in names}
    (folder / "model.sig").write_bytes(signature.sign(signing_key(signer), digests, "x"))
    _rewrite(folder, "keys.json", lambda k: k.update(manifestSha256=digests["manifest.json"]))
    (folder / "keys.sig").write_bytes(
        signature.sign(signing_key(signer), {"keys.json": _sha(folder, "keys.json")}, "x")
    )


def _sha(folder: Path, name: str) -> str:
    return hashlib.sha256(_read(folder, name)).hexdigest()


def _bundles() -> Iterator[Mutation]:
    """The signatures' own form."""
    changes: dict[str, dict[str, Callable[[Any], object]]] = {
        "the hint taken out": {
            "gone": lambda b: b["verificationMaterial"]["publicKey"].pop("hint"),
            "empty": lambda b: _hint(b, ""),
        },
        "another hint": {
            "zeros": lambda b: _hint(b, "0" * 64),
            "upper case": lambda b: _hint(b, b["verificationMaterial"]["publicKey"]["hint"].upper()),
        },
        "an unknown field in a bundle": {
            "at the top": lambda b: b.update(x=1),
            "in the envelope": lambda b: b["dsseEnvelope"].update(x=1),
            "in the material": lambda b: b["verificationMaterial"].update(x=1),
            "in the signature": lambda b: b["dsseEnvelope"]["signatures"][0].update(x=1),
            "a time stamp": lambda b: b["verificationMaterial"].update(
                timestampVerificationData={"rfc3161Timestamps": []}
            ),
        },
        "a field of a bundle taken out": {
            "mediaType": lambda b: b.pop("mediaType"),
            "tlogEntries": lambda b: b["verificationMaterial"].pop("tlogEntries"),
            "keyid": lambda b: b["dsseEnvelope"]["signatures"][0].pop("keyid"),
            "payloadType": lambda b: b["dsseEnvelope"].pop("payloadType"),
        },
        "the signature stripped": {
            "no signatures": lambda b: b["dsseEnvelope"]["signatures"].clear(),
            "an empty one": lambda b: _sig(b, b""),
            "zeros": lambda b: _sig(b, encode_dss_signature(0, 0)),
        },
        "a second signature": {
            "the same": lambda b: b["dsseEnvelope"]["signatures"].append(dict(b["dsseEnvelope"]["signatures"][0]))
        },
        "another media type": {
            "v0.1": lambda b: b.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1")
        },
        "another payload type": {"text": lambda b: b["dsseEnvelope"].update(payloadType="text/plain")},
        "a changed payload": {
            "an empty object": lambda b: _payload(b, b"{}"),
            "a space more": lambda b: _payload(b, _payload(b) + b" "),
        },
        "base64 spelt otherwise": {
            "a newline": lambda b: b["dsseEnvelope"].update(payload=b["dsseEnvelope"]["payload"] + "\n"),
            "no padding": lambda b: b["dsseEnvelope"]["signatures"][0].update(
                sig=_repad(b["dsseEnvelope"]["signatures"][0]["sig"])
            ),
            "more padding": lambda b: b["dsseEnvelope"].update(payload=b["dsseEnvelope"]["payload"] + "===="),
            "a space": lambda b: b["dsseEnvelope"]["signatures"][0].update(
                sig=" " + b["dsseEnvelope"]["signatures"][0]["sig"]
            ),
        },
        "an equivalent ECDSA signature": {"n - s": _high, "a longer DER form": _long},
    }
    for kind, group in changes.items():
        for told, change in group.items():
            for name in ("model.sig", "keys.sig"):
                yield Mutation(kind, f"{told}, {name}", bound(_bundle, name=name, change=change))


def _bundle(folder: Path, name: str, change: Callable[[Any], object]) -> None:
    content = json.loads(_read(folder, name))
    change(content)
    (folder / name).write_text(json.dumps(content, separators=(",", ":")))


def _hint(bundle: Any, value: str) -> None:
    bundle["verificationMaterial"]["publicKey"]["hint"] = value


def _sig(bundle: Any, value: bytes | None = None) -> bytes:
    entry = bundle["dsseEnvelope"]["signatures"][0]
    if value is not None:
        entry["sig"] = base64.b64encode(value).decode()
    return base64.b64decode(entry["sig"])


def _payload(bundle: Any, value: bytes | None = None) -> bytes:
    if value is not None:
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(value).decode()
    return base64.b64decode(bundle["dsseEnvelope"]["payload"])


def _repad(text: str) -> str:
    return text.rstrip("=") if text.endswith("=") else text + "="


def _high(bundle: Any) -> None:
    r, s = decode_dss_signature(_sig(bundle))
    _sig(bundle, encode_dss_signature(r, ORDER - s))


def _long(bundle: Any) -> None:
    der = _sig(bundle)
    _sig(bundle, b"\x30\x81" + der[1:])  # the length in its long form


def _spellings() -> Iterator[Mutation]:
    """The same content of the four JSON files, spelt otherwise."""

    def dumped(**options: Any) -> Callable[[bytes], bytes]:
        return lambda content: json.dumps(json.loads(content), **options).encode()

    ways: dict[str, dict[str, Callable[[bytes], bytes]]] = {
        "white space in JSON": {
            "indented": dumped(indent=1),
            "after separators": dumped(separators=(", ", ": ")),
            "behind": lambda c: c + b"\n",
            "in front": lambda c: b" " + c,
        },
        "CRLF line ends": {
            "behind": lambda c: c + b"\r\n",
            "indented": lambda c: dumped(indent=1)(c).replace(b"\n", b"\r\n"),
        },
        "a byte-order mark": {"UTF-8": lambda c: b"\xef\xbb\xbf" + c, "UTF-16": lambda c: c.decode().encode("utf-16")},
        "letters in another case": {
            "keys": lambda c: c.replace(b'"format"', b'"Format"').replace(b'"mediaType"', b'"MediaType"')
        },
        "JSON escapes": {
            "of a letter": lambda c: (
                c.replace(b'"sha256"', b'"sh\\u0061256"')
                .replace(b'"keyid"', b'"keyi\\u0064"')
                .replace(b'"provider"', b'"p\\u0072ovider"')
            )
        },
        "JSON keys in another order": {
            "reversed": lambda c: json.dumps(dict(reversed(json.loads(c).items())), separators=(",", ":")).encode()
        },
        "a duplicate JSON key": {
            "the same": lambda c: b"{" + _first(c) + b"," + c[1:],
            "before another": lambda c: b'{"tenant":"x","mediaType":"y","format":"z",' + c[1:],
        },
        "deeply nested JSON": {
            "lists": lambda _: b"[" * 200_000 + b"]" * 200_000,
            "in a field": lambda c: c[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        },
        "a file that is not JSON": {
            "nothing": lambda _: b"",
            "null": lambda _: b"null",
            "a list": lambda _: b"[]",
            "bytes": lambda _: b"\xff\xfe\0",
        },
        "a huge file": {"zeros": lambda _: bytes(17 << 20)},
    }
    for kind, group in ways.items():
        for told, how in group.items():
            for name in ("manifest.json", "keys.json", "model.sig", "keys.sig"):
                yield Mutation(kind, f"{told}, {name}", _change(name, how))
                if kind != "a huge file" and name in {"manifest.json", "keys.json"}:
                    yield Mutation(
                        f"{kind}, signed by a trusted signer",
                        f"{told}, {name}",
                        bound(_respell, name=name, how=how),
                    )


def _first(content: bytes) -> bytes:
    key, value = next(iter(json.loads(content).items()))
    return json.dumps({key: value}, separators=(",", ":")).encode()[1:-1]


def _respell(folder: Path, name: str, how: Callable[[bytes], bytes]) -> None:
    """Spell a file otherwise and have it signed by a trusted signer: the spelling alone must be refused."""
    _join(folder, name, how)
    key = signing_key()
    if name == "manifest.json":
        digests = {n: _sha(folder, n) for n in ("manifest.json", "data/0", "data/1", "data/2")}
        (folder / "model.sig").write_bytes(signature.sign(key, digests, "x"))
        _rewrite(folder, "keys.json", lambda k: k.update(manifestSha256=digests["manifest.json"]))
    (folder / "keys.sig").write_bytes(signature.sign(key, {"keys.json": _sha(folder, "keys.json")}, "x"))


def _file_set() -> Iterator[Mutation]:
    for name in NAMES:
        yield Mutation("a file missing", name, bound(lambda f, n: (f / n).unlink(), n=name))
        yield Mutation("an empty file", name, bound(lambda f, n: (f / n).write_bytes(b""), n=name))
        yield Mutation("a symbolic link", f"{name}, to itself elsewhere", bound(_link, name=name))
        yield Mutation(
            "a symbolic link",
            f"{name}, to nothing",
            bound(lambda f, n: _replace(f / n, lambda p: p.symlink_to("nothing")), n=name),
        )
        yield Mutation("a pipe", name, bound(lambda f, n: _replace(f / n, os.mkfifo), n=name))
        yield Mutation("a folder in a file's place", name, bound(lambda f, n: _replace(f / n, Path.mkdir), n=name))
        yield Mutation(
            "a file under another name",
            f"{name} in upper case",
            bound(
                lambda f, n: (f / n).rename(f / n.replace("m", "M").replace("k", "K").replace("data/", "data/0")),
                n=name,
            ),
        )
    extra = (
        "note.txt",
        "data/3",
        "data/00",
        "data/x",
        "model.onnx",
        "keys.json.bak",
        "data/0.tmp",
        "Manifest.json",
        "deep/er/file",
        "lost+found/file",
    )
    for name in extra:
        yield Mutation("a file more", name, bound(lambda f, n: _add(f / n), n=name))
    for name in (os.fsdecode(b"\xff\xfe"), "new\nline", "data/\x1b[2J", "a b", "ä", "data/0 "):
        yield Mutation("a strange name more", ascii(name), bound(lambda f, n: _add(f / n), n=name))
    for name in (".gitattributes", ".git/config", ".gitignore", ".github/x", "data/.git", ".DS_Store"):
        yield Mutation("a hidden file more", name, bound(lambda f, n: _add(f / n), n=name))
    for name in ("empty", "data/empty", ".git", "data/lost+found"):
        yield Mutation("a folder more", name, bound(lambda f, n: (f / n).mkdir(), n=name))
    yield Mutation("a symbolic link more", "to a file", lambda f: (f / "link").symlink_to("manifest.json"))
    yield Mutation("a symbolic link more", "to a folder", lambda f: (f / "link").symlink_to("data"))
    yield Mutation("a folder that is a link", "data", _link_data)
    yield Mutation("a pipe more", "pipe", lambda f: os.mkfifo(f / "pipe"))
    yield Mutation("only some files left", "no signatures", bound(_unlink, names=("model.sig", "keys.sig")))
    yield Mutation("only some files left", "no keys", bound(_unlink, names=("keys.json", "keys.sig")))
    yield Mutation("only some files left", "no data", lambda f: shutil.rmtree(f / "data"))


def _unlink(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).unlink()


def _link_data(folder: Path) -> None:
    target = folder.parent / f"{folder.name}-data"
    (folder / "data").rename(target)
    (folder / "data").symlink_to(target)


def _link(folder: Path, name: str) -> None:
    target = folder.parent / f"{folder.name}-{name.replace('/', '-')}"
    (folder / name).rename(target)
    (folder / name).symlink_to(target)


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _add(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"more")


def _keys(victim: Sealed, others: Others) -> Iterator[Mutation]:
    """keys.json by itself, signed anew by a trusted signer where that takes one."""
    checked = opening.check(victim.folder, victim.expected)

    def signed(change: Callable[[Any], object], signer: str = "ci") -> Apply:
        def apply(folder: Path) -> None:
            made = _rewrite(folder, "keys.json", change)
            digest = hashlib.sha256(made).hexdigest()
            (folder / "keys.sig").write_bytes(signature.sign(signing_key(signer), {"keys.json": digest}, "keys"))

        return apply

    def put(folder: Path, manifest_sha256: str) -> None:
        for name, content in keys_files(manifest_sha256, checked.keys, signing_key()).items():
            (folder / name).write_bytes(content)

    yield Mutation("keys of another manifest", "bound to it", lambda f: put(f, "0" * 64))
    yield Mutation("keys signed by a stranger", "unchanged", signed(lambda _: None, "stranger"))
    entry: dict[str, Callable[[Any], object]] = {
        "kekId": lambda k: k["keys"][0].update(kekId="k2"),
        "provider": lambda k: k["keys"][0].update(provider="Vault"),
        "wrapped": lambda k: k["keys"][0].update(wrapped=base64.b64encode(bytes(60)).decode()),
        "wrapped, too short": lambda k: k["keys"][0].update(wrapped="AAAA"),
        "wrapped, not base64": lambda k: k["keys"][0].update(wrapped="!" * 80),
        "wrapped, base64 with a stray bit": lambda k: k["keys"][0].update(wrapped=_stray(k["keys"][0]["wrapped"])),
        "kekId with ..": lambda k: k["keys"][0].update(kekId="../k1"),
        "no entry": lambda k: k.update(keys=[]),
        "an entry twice": lambda k: k["keys"].append(k["keys"][0]),
        "too many entries": lambda k: k.update(keys=[{**k["keys"][0], "kekId": f"k{n}"} for n in range(17)]),
        "unknown field": lambda k: k.update(note=1),
        "the key of another sealing": lambda k: k.update(
            keys=json.loads(_read(others.again.folder, "keys.json"))["keys"]
        ),
    }
    for told, change in entry.items():
        yield Mutation("a key entry changed and signed by a trusted signer", told, signed(change))
        yield Mutation("a key entry changed", told, bound(_rewrite, name="keys.json", change=change))
    yield Mutation(
        "a signature over more than it is for",
        "keys.sig over manifest.json too",
        lambda f: _over(f, "keys.sig", ("keys.json", "manifest.json")),
    )
    yield Mutation(
        "a signature over more than it is for",
        "model.sig over keys.json too",
        lambda f: _over(f, "model.sig", (*NAMES[:1], *NAMES[4:], "keys.json")),
    )
    yield Mutation(
        "a signature over less than it is for",
        "model.sig without data/2",
        lambda f: _over(f, "model.sig", (NAMES[0], *NAMES[4:6])),
    )
    yield Mutation(
        "a signature over less than it is for",
        "model.sig over the manifest alone",
        lambda f: _over(f, "model.sig", NAMES[:1]),
    )


def _insiders(victim: Sealed) -> Iterator[Mutation]:
    """Whoever holds the signing key and the key-encryption key moves ciphertext about: the authenticated encryption still refuses."""
    checked = opening.check(victim.folder, victim.expected)
    data_key = opening.unwrap(checked, victim.kek).data_key

    def everything_anew(folder: Path, change: Callable[[Path, Any], object]) -> None:
        manifest = json.loads(_read(folder, "manifest.json"))
        change(folder, manifest)
        for index, file in enumerate(manifest["files"]):
            file.update(sha256=_sha(folder, f"data/{index}"), size=(folder / f"data/{index}").stat().st_size)
        (folder / "manifest.json").write_bytes(canonical.encode(manifest))
        sign_again(folder, "ci")
        digest = _sha(folder, "manifest.json")
        wrapped = SecretFile(victim.kek_file, "k1").wrap(data_key, keys.context(digest, "k1"))
        for name, content in keys_files(digest, [wrapped], signing_key()).items():
            (folder / name).write_bytes(content)

    def exchange(folder: Path, _: Any) -> None:
        _change(LARGE, lambda c: c[:HEADER] + c[SEGMENT + HEADER : 2 * SEGMENT] + c[SEGMENT:])(folder)

    changes: dict[str, Callable[[Path, Any], object]] = {
        "another path": lambda _, m: m["files"][0].update(path="a/other.bin"),
        "segments reordered": lambda f, _: _change(
            LARGE, lambda c: c[:SEGMENT] + c[2 * SEGMENT :] + c[SEGMENT : 2 * SEGMENT]
        )(f),
        "a segment in place of another": exchange,
        "cut at a segment": lambda f, m: (
            _change(LARGE, lambda c: c[: 2 * SEGMENT])(f),
            m["files"][1].update(plaintextSize=2 * (SEGMENT - 16) - HEADER),
        ),
        "a bit of a tag": _flip_last,
        "a header that is none": lambda f, _: _flip(SMALL, 0, 1)(f),
        "another salt": lambda f, _: _flip(SMALL, 1, 1)(f),
        "another nonce": lambda f, _: _flip(SMALL, 39, 1)(f),
        "an older sealing's commitment": lambda _, m: m.update(keyCommitment="1" * 64),
    }
    for told, change in changes.items():
        yield Mutation("ciphertext moved by one who holds every key", told, bound(everything_anew, change=change))


def _flip_last(folder: Path, _: Any) -> None:
    _flip(LARGE, (folder / LARGE).stat().st_size - 1, 1)(folder)


def _stray(text: str) -> str:
    """The same bytes in base64 with a bit set that says nothing (the padded 60 bytes have none: one byte less has)."""
    return base64.b64encode(base64.b64decode(text)[:-1]).decode()[:-2] + "B="


def _over(folder: Path, name: str, names: tuple[str, ...]) -> None:
    (folder / name).write_bytes(signature.sign(signing_key(), {n: _sha(folder, n) for n in names}, "x"))
