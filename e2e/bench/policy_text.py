"""The part of suite policy that is about text: how fast it is searched for personal data, and how much of what is there is found.

Called by `policy.py`. Time is that of the thread (`time.thread_time`): other work on the machine makes it a little worse, where wall time
would tell of that work alone.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from e2e.bench import policy_corpus, results
from modelward_runtime.privacy.pii import scan
from modelward_runtime.privacy.pii.scan import RECOGNISERS, Kind

BAR_CLEAN, BAR_NEAR = 50.0, 20.0  # MB/s
BAR_LINEAR = 2.5  # times the time for each byte when the text is eight times as long: caches cost up to 1.5, squares 8
PIECE = 256 << 10  # bytes of text that one sample is taken of
ALL: tuple[Kind, ...] = tuple(RECOGNISERS)

HOSTILE = {
    "digits and spaces": "1 ",
    "dotted digits": "1.1.1.",
    "at signs": "a@a.",
    "colons": "1::",
    "tokens that never end": "eyJaaaaaaaa.",
    "country codes": "DE89 ",
    "URLs": "://a:b",
    "key headers": "-----BEGIN PRIVATE KEY-----",
    "assignments": "password=",
    "invisible characters": "1\u200b",
    "card numbers": "4242424242424242 ",
}


def measure_speed(bars: dict[str, bool]) -> dict[str, Any]:
    rng = random.Random(5)
    size = 4 << 20
    texts = {
        "clean": policy_corpus.clean(size, rng),
        "clean, Chinese": policy_corpus.clean_chinese(size, rng),
        "clean, rows of 20 characters": [text[:20] for text in policy_corpus.clean(size, rng)],
        "near misses": policy_corpus.near_misses(size, rng),
    }
    texts |= {f"near misses, {kind} alone": policy_corpus.near_misses(size // 4, rng, kind) for kind in ALL}
    rows: list[tuple[str, ...]] = [("text, MB/s of processor time", "p50", "p99 (slow)", "found")]
    told: dict[str, Any] = {}
    for name, elements in texts.items():
        rates = _rates(elements)
        found = len(scan.find(elements, ALL))
        told[name] = {
            "megabytesPerSecond": {"p50": _percentile(rates, 50), "p99": _percentile(rates, 1)},
            "found": found,
        }
        rows.append((name, f"{_percentile(rates, 50):.0f}", f"{_percentile(rates, 1):.0f}", str(found)))
    bars[f"clean text at {BAR_CLEAN:.0f} MB/s"] = told["clean"]["megabytesPerSecond"]["p50"] >= BAR_CLEAN
    bars[f"near misses at {BAR_NEAR:.0f} MB/s"] = told["near misses"]["megabytesPerSecond"]["p50"] >= BAR_NEAR
    print("\n" + results.table(rows))
    return {"kinds": ALL, "texts": told, "hostile": _measure_hostile(bars)}


def _rates(elements: Sequence[str], least: int = 100) -> list[float]:
    """MB/s of pieces of the text, each searched by itself, until there are samples enough."""
    pieces: list[list[str]] = [[]]
    filled = 0
    for element in elements:
        if filled > PIECE:
            pieces.append([])
            filled = 0
        pieces[-1].append(element)
        filled += len(element.encode())
    rates: list[float] = []
    while len(rates) < least:
        for piece in pieces[: -1 if len(pieces) > 1 else None]:
            size = sum(len(element.encode()) for element in piece)
            began = time.thread_time()
            scan.find(piece, ALL)
            rates.append(size / (time.thread_time() - began) / 1e6)
    return rates


def _measure_hostile(bars: dict[str, bool]) -> dict[str, Any]:
    """Time for each byte of text made to be slow, at two lengths: linear means the same."""
    short, long = 128 << 10, 1 << 20
    rows: list[tuple[str, ...]] = [("hostile text, MB/s", "128 KiB", "1 MiB", "time a byte, long / short")]
    told: dict[str, Any] = {}
    for name, unit in HOSTILE.items():
        small, large = (_rate(unit * (size // len(unit.encode()))) for size in (short, long))
        told[name] = {"unit": unit, "megabytesPerSecond": {"128KiB": small, "1MiB": large}, "ratio": small / large}
        rows.append((name, f"{small:.1f}", f"{large:.1f}", f"{small / large:.2f}"))
    print("\n" + results.table(rows))
    bars["hostile text is searched in linear time"] = all(one["ratio"] <= BAR_LINEAR for one in told.values())
    return told


def _rate(text: str) -> float:
    best = float("inf")
    for _ in range(7):
        began = time.thread_time()
        scan.find([text], ALL)
        best = min(best, time.thread_time() - began)
    return len(text.encode()) / best / 1e6


# ── findings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def measure_findings(count: int = 20_000) -> dict[str, Any]:
    corpus = list(policy_corpus.sentences(count, random.Random(11)))
    found = scan.find([text for text, _ in corpus], ALL)
    by_sentence: dict[int, list[scan.Match]] = {}
    for match in found:
        by_sentence.setdefault(match.element, []).append(match)
    hits: dict[tuple[str, str], list[int]] = {}
    false = dict.fromkeys(ALL, 0)
    true = dict.fromkeys(ALL, 0)
    for number, (_, truths) in enumerate(corpus):
        matches = by_sentence.get(number, [])
        for truth in truths:
            hits.setdefault((truth.kind, truth.form), []).append(any(_covers(match, truth) for match in matches))
        for match in matches:
            same = any(truth.kind == match.kind and _touch(match, truth) for truth in truths)
            true[match.kind] += same
            false[match.kind] += not same
    return _tell_findings(count, hits, true, false)


def _tell_findings(
    count: int, hits: Mapping[tuple[str, str], Sequence[int]], true: Mapping[Kind, int], false: Mapping[Kind, int]
) -> dict[str, Any]:
    rows: list[tuple[str, ...]] = [("findings", "there", "recall", "of documented forms", "precision", "missed forms")]
    told: dict[str, Any] = {"sentences": count, "limits": policy_corpus.LIMITS, "kinds": {}}
    for kind in ALL:
        forms = {form: results_ for (each, form), results_ in hits.items() if each == kind}
        every = [hit for some in forms.values() for hit in some]
        documented = [hit for form, some in forms.items() if "(unfound)" not in form for hit in some]
        precision = true[kind] / max(true[kind] + false[kind], 1)
        recalls = {form: statistics.fmean(some) for form, some in forms.items()}
        told["kinds"][kind] = {
            "truths": len(every),
            "recall": statistics.fmean(every),
            "recallOfDocumentedForms": statistics.fmean(documented),
            "precision": precision,
            "falseFindings": false[kind],
            "recallByForm": recalls,
        }
        missed = ", ".join(form for form, recall in recalls.items() if recall < 0.5)
        figures = (statistics.fmean(every), statistics.fmean(documented), precision)
        rows.append((kind, str(len(every)), *(f"{figure:.3f}" for figure in figures), missed))
    print("\n" + results.table(rows) + f"\n({policy_corpus.LIMITS})")
    return told


def _covers(match: scan.Match, truth: policy_corpus.Truth) -> bool:
    """At least four fifths of what is there is in the finding of its kind."""
    shared = min(match.end, truth.end) - max(match.start, truth.start)
    return match.kind == truth.kind and shared >= 0.8 * (truth.end - truth.start)


def _touch(match: scan.Match, truth: policy_corpus.Truth) -> bool:
    return match.start < truth.end and truth.start < match.end


def _percentile(values: Sequence[float], percent: int) -> float:
    return float(np.percentile(values, percent))
