"""The sample store: every generated text once, named by the content of what produced it.

A file of samples is named by the hash of everything that decides its texts: weights, tokenizer, items,
prompt, sampling and engine. So a changed checkpoint can never be answered by an old text, and the untrained
policy, which all runs share, is generated once. Grading comes later and needs no model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.engines import Finish
from tasks.errors import UserError
from tasks.files import write_text


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One completion as the engine gave it."""

    item: str
    """`Problem.id`."""
    index: int
    """0 .. samples - 1 within the item."""
    text: str
    tokens: int
    """End-of-sequence token included."""
    finish: Finish
    seed: int
    prompt_hash: str
    """sha256 of the prompt text, chat template included."""


def sample_key(request: dict[str, Any]) -> str:
    """Return the name of a sample file: the hash of its sorted request."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:24]


def samples_path(out: Path, key: str) -> Path:
    """Return where the samples of a key lie."""
    return out / "samples" / f"{key}.jsonl"


def write_samples(
    out: Path, request: dict[str, Any], effective: dict[str, Any], samples: list[Sample]
) -> None:
    """Write a finished set of samples in one step; its first line says what was asked and what was done."""
    header = {"request": request, "effective": effective, "count": len(samples)}
    lines = [header, *({**asdict(sample), "finish": str(sample.finish)} for sample in samples)]
    write_text(samples_path(out, sample_key(request)), "".join(json.dumps(line) + "\n" for line in lines))


def read_samples(path: Path) -> tuple[dict[str, Any], list[Sample]]:
    """Return (header, samples) of a file.

    Raises:
        UserError: the file is not whole or its name does not fit its content.
    """
    try:
        header, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        samples = [Sample(**{**line, "finish": Finish(line["finish"])}) for line in lines]
        sound = header["count"] == len(samples) and sample_key(header["request"]) == path.stem
    except (ValueError, TypeError, KeyError):
        sound = False
    if not sound:
        raise UserError(
            f"{path}: damaged samples; delete the file and run the same command to generate them again"
        )
    return header, samples
