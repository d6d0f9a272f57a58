"""Proofs that an engine holds the weights it was given. A stale engine answers fluently, so it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.asking import NOT_ARCHITECTURE
from tasks.checkpoints import is_adapter, model_folder, read_header, weight_files
from tasks.engines import Dtype, Engine, WeightMismatch
from tasks.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE: dict[Dtype, float] = {"float32": 1e-3, "bfloat16": 0.2}
"""Nats, against a float32 forward on the CPU. float32 engines agree to 5e-5. bfloat16 keeps 8 bits, which
moved single tokens by up to 0.09 nats: 0.2 is twice that, and finds another model but not one small step."""

PROBE_TEXTS = ("12 + 34 = 46, 7 * 8 = 56, 90 - 1 = 89", "What is 3 + 4? The answer is 7.")
"""Text, not random tokens: on those SmolLM2 amplifies rounding, up to 5e-3 nats with sound weights."""


def probe_prompts(folder: Path, longest: int) -> list[list[int]]:
    """Write fixed texts with the folder's own tokenizer, at most `longest` ids each."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_folder(folder) / "tokenizer.json"))
    return [tokenizer.encode(text, add_special_tokens=False).ids[:longest] for text in PROBE_TEXTS]


def largest_gap(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Return the largest |difference| of two lists of log-probs; a NaN on either side counts as infinity."""
    pairs = [pair for one, other in zip(ours, theirs, strict=True) for pair in zip(one, other, strict=True)]
    differences = np.abs(np.subtract(*np.array(pairs, dtype=np.float64).T))
    return float(np.nan_to_num(differences, nan=np.inf).max())


def prove_weights(
    engine: Engine, sequences: Sequence[Sequence[int]], expected: Sequence[Sequence[float]], tolerance: float
) -> float:
    """Compare the engine's log-probs with those of a trusted forward of the same weights.

    Args:
        engine: the engine under suspicion.
        sequences: token ids, at least two each; see `probe_prompts`.
        expected: for every sequence, log p of tokens 1, 2, ... at temperature 1.
        tolerance: largest absolute difference allowed, in nats.

    Returns:
        The largest difference, for the log.

    Raises:
        WeightMismatch: the engine does not hold these weights.
    """
    return _check_gap(engine.name, engine.token_logprobs(sequences), expected, tolerance)


def _check_gap(
    name: str, found: Sequence[Sequence[float]], expected: Sequence[Sequence[float]], tolerance: float
) -> float:
    gap = largest_gap(found, expected)
    if not gap <= tolerance:
        raise WeightMismatch(
            f"engine {name!r} is {gap:.6f} nats off a trusted forward of its weights on {len(found)} probe "
            f"sequences, at most {tolerance:g} is allowed: nothing it says may be used"
        )
    return gap


def prove_folder(engine: Engine, folder: Path, longest: int, dtype: Dtype) -> list[list[float]]:
    """Compare the engine with a float32 forward of a folder on the CPU, on texts of at most `longest` tokens.

    Returns:
        What the engine said of the texts: `Engine.probed`.

    Raises:
        WeightMismatch: the engine does not hold the folder's weights.
    """
    from tasks.engines.forward import load_model, score

    probes = probe_prompts(folder, longest)
    found = engine.token_logprobs(probes)
    _check_gap(
        engine.name, found, score(load_model(folder, "float32", "cpu"), probes, len(probes)), TOLERANCE[dtype]
    )
    return found


def check_architecture(opened: Path, folder: Path, remedy: str = "open a new engine for it") -> None:
    """Refuse a folder whose config computes another function of the weights than that of the one opened."""
    from transformers import AutoConfig  # brings torch: not at import

    from tasks.engines.forward import load_safely

    # AutoConfig brings both to one spelling: versions name the same thing differently.
    ours, theirs = (load_safely(AutoConfig, one).to_dict() for one in (opened, folder))
    keys = (ours.keys() | theirs.keys()) - NOT_ARCHITECTURE
    differing = sorted(key for key in keys if ours.get(key) != theirs.get(key))
    if differing:
        shown = ", ".join(f"{key}={theirs.get(key)!r} (loaded: {ours.get(key)!r})" for key in differing[:3])
        raise UserError(f"{folder}: another architecture, {shown}; {remedy}")


def stored_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) of every weight in the folder, on the CPU, in the dtype of the file.

    Those of a LoRA adapter are its base's with the adapter added.
    """
    from safetensors import safe_open

    if is_adapter(folder):
        from tasks.engines.adapters import merged_tensors

        yield from merged_tensors(folder)
        return
    for file in weight_files(folder):
        read_header(file)
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118  (not a dict: it has no __iter__)
                yield name, weights.get_tensor(name)
