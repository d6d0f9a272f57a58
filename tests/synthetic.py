"""Rows with the shape of a real suite and numbers from a formula."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmark.rows import ResultRow

FIXED: dict[str, Any] = {
    "kind": "real",
    "suite": "toy",
    "model": "tiny",
    "tokens": 0,
    "train_s": 0.0,
    "task_version": "1",
    "metric": "accuracy",
    "higher_is_better": True,
    "stderr": 0.01,
    "n_samples": 2,
    "n_unparsed": 3,
    "n_truncated": 2,
    "n_ungraded": 1,
    "mean_tokens": 20.0,
    "engine": "transformers",
    "config_hash": "c0ffee",
    "sample_key": "s",
    "git_sha": "abc123",
    "git_dirty": False,
    "versions": {"torch": "2.9.0"},
    "device": "cpu",
    "scored_at": "2025-01-01T00:00:00Z",
    "wall_s": 1.5,
}


def make_row(**fields: Any) -> ResultRow:
    """One valid row; every field can be set."""
    place = {
        "arm": "grpo",
        "seed": 0,
        "step": 10,
        "task": "sums",
        "split": "test",
        "value": 0.5,
        "n_items": 100,
    }
    place |= fields
    return ResultRow(**(FIXED | {"weights_hash": f"{place['arm']}-{place['seed']}-{place['step']}"} | place))


def make_rows(
    generator: np.random.Generator,
    *,
    gain: dict[str, float] | None = None,
    seeds: Sequence[int] = range(5),
    steps: Iterable[int] = (10, 20, 40),
    tasks: Iterable[str] = ("sums", "words"),
    n_items: int = 200,
    seed_sd: float = 0.02,
    **fields: Any,
) -> list[ResultRow]:
    """Saturating curves: base + gain * (1 - exp(-step / 20)) + the seed's own offset, counted on n_items."""
    gain = {"grpo": 0.2, "lambda_grpo": 0.3} if gain is None else gain
    rows = []
    for number, task in enumerate(tasks):
        base = 0.3 + 0.1 * number
        cells = [("base", None, 0, 0.0)]
        for seed in seeds:
            luck = generator.normal(0, seed_sd)  # shared by the arms: that is what pairing by seed removes
            cells += [
                (arm, seed, step, height * (1 - np.exp(-step / 20)) + luck + generator.normal(0, seed_sd / 2))
                for arm, height in gain.items()
                for step in steps
            ]
        for arm, seed, step, rise in cells:
            for split in ("validation", "test"):
                right = generator.binomial(n_items, np.clip(base + rise, 0.01, 0.99))
                place = {
                    "arm": arm,
                    "seed": seed,
                    "step": step,
                    "task": task,
                    "split": split,
                    "tokens": step * 1000,
                    "train_s": step * 0.5,
                }
                rows.append(make_row(**(place | {"value": right / n_items, "n_items": n_items} | fields)))
    return rows
