"""Draws predictions so that a person sees what the model says and whether it is right. Pure: rows and outputs in, lines out."""

from __future__ import annotations

from e2e.demo.paint import bar, paint, pixels
from e2e.models.rows import Array, Rows

Outputs = dict[str, Array]


def show_breast_cancer(rows: Rows, served: Outputs) -> list[str]:
    """One line per biopsy: three of its thirty measurements, how malignant the model finds it, the truth."""
    lines = [
        paint(
            f"  {'radius':>6} {'area':>6} {'concavity':>9}   {'probability of malignant':<27} {'says':<10} truth", "dim"
        )
    ]
    measures = rows.inputs["X"][:, [0, 3, 6]]
    malignant = rows.labels.index("malignant")
    for measure, chances, label, truth in zip(
        measures, served["probabilities"], served["label"], rows.truths, strict=True
    ):
        chance, says = float(chances[malignant]), rows.labels[int(label)]
        coloured = paint(bar(chance), "red" if chance > 0.5 else "green")
        numbers = f"  {measure[0]:6.1f} {measure[1]:6.0f} {measure[2]:9.3f}   {coloured} {chance:6.4f} {says:<10} "
        lines.append(numbers + _judged(truth, right=says == truth))
    return lines


def show_digits(rows: Rows, served: Outputs) -> list[str]:
    """The handwriting, five digits to a line, and below each what the model reads and how sure it is."""
    sure = served["probabilities"].max(axis=1)
    drawn = []
    for image, says, certainty, truth in zip(rows.inputs["X"], served["label"], sure, rows.truths, strict=True):
        right = rows.labels[int(says)] == truth
        caption = f"{rows.labels[int(says)]} {certainty:4.0%}".ljust(8)
        drawn.append([*pixels((image / 16).reshape(8, 8).tolist()), paint(caption, "green" if right else "red")])
    lines = []
    for start in range(0, len(drawn), 5):
        lines += ["  " + "    ".join(parts) for parts in zip(*drawn[start : start + 5], strict=True)] + [""]
    return lines[:-1]


def show_minilm(rows: Rows, served: Outputs) -> list[str]:
    """Each sentence with its cosine similarity to every sentence above it."""
    embeddings = served["sentence_embedding"]
    similarity = embeddings @ embeddings.T  # of length 1 each, so this is the cosine
    width = max(map(len, rows.texts))
    head = "".join(f"{number:>7}" for number in range(1, len(rows.texts)))
    lines = [paint(f"  {'cosine similarity':<{width + 2}} {head}", "dim")]
    for index, text in enumerate(rows.texts):
        cells = "".join(_cell(float(similarity[index, other])) for other in range(index))
        lines.append(f"  {index + 1} {text:<{width}} {cells}")
    return lines


def _cell(value: float) -> str:
    styles = ("bold", "green") if value > 0.5 else () if value > 0.1 else ("dim",)
    return paint(f"{value:7.2f}", *styles)


def _judged(truth: str, *, right: bool) -> str:
    return paint(f"{truth} ✔", "green") if right else paint(f"{truth} ✘ the model is wrong here", "yellow")
