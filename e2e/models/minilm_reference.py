"""The same encoder in plain numpy and float64, written apart from the graph to check it. Called by the build only.

It must not import `minilm`: a formula got wrong twice in the same place would prove nothing. Layout and names follow
the published checkpoint (BertModel); the formulae are cited in `minilm`.
"""

from __future__ import annotations

import math

import numpy as np

from e2e.models.rows import Array


def embed(weights: dict[str, Array], token_ids: list[int]) -> Array:
    """The sentence embedding [384] of one unpadded sequence of token ids: no batch, no mask, nothing to mix up."""
    w = {name: value.astype(np.float64) for name, value in weights.items() if value.dtype.kind == "f"}
    tokens = np.asarray(token_ids)
    x = w["embeddings.word_embeddings.weight"][tokens]
    x = x + w["embeddings.position_embeddings.weight"][: len(tokens)] + w["embeddings.token_type_embeddings.weight"][0]
    x = _normalise(w, "embeddings.LayerNorm", x)
    for layer in range(6):
        x = _layer(w, f"encoder.layer.{layer}", x)
    mean = x.mean(axis=0)
    return np.asarray(mean / math.sqrt(float(mean @ mean)))


def _layer(w: dict[str, Array], at: str, x: Array) -> Array:
    q, k, v = (_affine(w, f"{at}.attention.self.{part}", x) for part in ("query", "key", "value"))
    heads = [_head(q[:, cut], k[:, cut], v[:, cut]) for cut in (slice(32 * h, 32 * h + 32) for h in range(12))]
    attended = _affine(w, f"{at}.attention.output.dense", np.concatenate(heads, axis=1))
    x = _normalise(w, f"{at}.attention.output.LayerNorm", x + attended)
    inner = _affine(w, f"{at}.intermediate.dense", x)
    gelu = 0.5 * inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    return _normalise(w, f"{at}.output.LayerNorm", x + _affine(w, f"{at}.output.dense", gelu))


def _head(q: Array, k: Array, v: Array) -> Array:
    scores = np.einsum("id,jd->ij", q, k) / math.sqrt(q.shape[1])
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(odds @ v / odds.sum(axis=1, keepdims=True))


def _affine(w: dict[str, Array], name: str, x: Array) -> Array:
    return np.asarray(np.einsum("ti,oi->to", x, w[f"{name}.weight"]) + w[f"{name}.bias"])


def _normalise(w: dict[str, Array], name: str, x: Array) -> Array:
    centred = x - x.mean(axis=1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
    return np.asarray(centred / deviation * w[f"{name}.weight"] + w[f"{name}.bias"])
