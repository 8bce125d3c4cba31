"""A table of 24 outputs, and the words of `glow-jax batch` that make them."""

from pathlib import Path

ROWS = ["expression,source,target,alpha,id", *(f"shots,ann,bob,{a / 8},r{a}" for a in range(12))]


def words(job: Path, out: Path, *more: str) -> list[str]:
    """The command, for the model beside the table, and more words."""
    model = str(job.parent / "model")
    return ["batch", str(job), "-o", str(out), "--model", model, "--no-compile-cache", *more]
