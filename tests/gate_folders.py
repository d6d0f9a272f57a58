"""Results folders with the shape of a real gate's and numbers from a formula, to call the command line on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import make_row

from benchmark.__main__ import main
from benchmark.rows import ResultRow, append_rows
from benchmark.suite import Suite
from tasks.errors import run_cli

Gate = Callable[..., int]

STEPS = (0, 8, 16)
VERSIONS = {"torch": "2.13.0+cpu", "transformers": "5.19.0", "lm-eval": "0.4.13", "math-verify": "0.9.0"}
CONFIG = {
    "arm": "lambda_grpo",
    "steps": 16,
    "learning_rate": 1e-4,
    "problems_per_step": 2,
    "group_size": 4,
    "schedule": "constant",
    "warmup_steps": 0,
    "updates_per_batch": 1,
    "dtype": "float32",
    "weight_dtype": "float32",
    "update_dtype": "float32",
}
SOUND = {
    "step_tokens": 100,
    "completion/mean_length": 12.5,
    "loss": 0.05,
    "kl": 0.0,
    "entropy": 0.2,
    "gradient_norm": 0.5,
    "normaliser": 100.0,
    "learning_rate": 1e-4,
    "ratio/min": 1.0,
    "ratio/max": 1.0,
    "clip/low": 0.0,
    "clip/high": 0.0,
    "importance/mean": 1.0,
    "reward/mean": 0.3,
    "reward/known": 1.0,
    "check/grpo_identity": 1e-16,
    "check/lambda_identity": 1e-16,
    "check/loss": 1e-8,
    "check/rollout_logprob_gap": 1e-6,
    "check/rollout_logprob_gap_mean": 1e-7,
    "check/prefix_disagreement": 0.0,
    "check/weight_sync_gap": 0.0,
}


def toy_suite(**fields: Any) -> Suite:
    """The suite of every folder here."""
    asked: dict[str, Any] = {
        "name": "toy",
        "summary": "made up",
        "recipe": "embedded",
        "arms": ["lambda_grpo"],
        "baseline": "lambda_grpo",
        "seeds": list(range(10)),
        "tasks": ["add2"],
        "splits": ["validation"],
    }
    return Suite(**(asked | fields))


def gain_of(seed: int) -> float:
    """What training with a seed brings: the same in every folder."""
    return 0.2 + float(np.random.default_rng(seed).normal(0, 0.02))


def make_folder(
    out: Path,
    *,
    shift: float | Sequence[float] = 0.0,
    noise: int | None = None,
    noise_sd: float = 0.005,
    seeds: Sequence[int] = range(10),
    suite: Suite | None = None,
    metrics: dict[str, Any] | None = None,
    row: dict[str, Any] | None = None,
    weights: str = "",
    config: dict[str, Any] | None = None,
) -> Path:
    """Write a folder of results.

    Args:
        out: the folder.
        shift: added to the gain, for all seeds or each of them.
        noise: seed of what is added to each run; None adds nothing.
        noise_sd: its size.
        seeds: those trained.
        suite: default `toy_suite()`.
        metrics: values of every line of metrics.jsonl that differ from a sound run's.
        row: columns of every row that differ from the usual ones.
        weights: makes weights that differ from those of other folders.
        config: settings of the trainer that differ from the usual ones; None leaves a key out.
    """
    suite = suite or toy_suite()
    generator = np.random.default_rng(noise)
    shifts = [shift] * len(seeds) if isinstance(shift, float | int) else list(shift)
    rows = [_row(suite, "base", None, 0, 0.4, "base", row)]
    for seed, moved in zip(seeds, shifts, strict=True):
        gain = gain_of(seed) + moved + (0.0 if noise is None else float(generator.normal(0, noise_sd)))
        for step in STEPS[1:]:
            value = 0.4 + gain * (1 - np.exp(-step / 4))
            rows.append(_row(suite, "lambda_grpo", seed, step, value, f"{weights}{seed}_{step}", row))
        write_run(out, seed, metrics or {}, config or {})
    append_rows(out / "rows.jsonl", rows)
    record = {"config": suite.model_dump(mode="json"), "config_hash": suite.digest()}
    (out / "suite.json").write_text(json.dumps(record), encoding="utf-8")
    return out


def _row(
    suite: Suite,
    arm: str,
    seed: int | None,
    step: int,
    value: float,
    weights: str,
    row: dict[str, Any] | None,
) -> ResultRow:
    place = {"arm": arm, "seed": seed, "step": step, "task": "add2", "split": "validation", "value": value}
    spent = {"tokens": 100 * step + (seed or 0) * step // 8, "train_s": float(step)}
    fixed = spent | {
        "suite": suite.name,
        "n_items": 256,
        "n_samples": 1,
        "weights_hash": weights,
        "n_ungraded": 0,
    }
    return make_row(**(place | fixed | {"versions": VERSIONS} | (row or {})))


def write_run(out: Path, seed: int, metrics: dict[str, Any], settings: dict[str, Any] | None = None) -> None:
    """Write config.json and metrics.jsonl of a run."""
    folder = out / "runs/lambda_grpo" / f"seed_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    asked = CONFIG | {"seed": seed} | (settings or {})
    resolved = {key: value for key, value in asked.items() if value is not None}
    config = {"config": resolved, "config_hash": f"config {seed}"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    lines = [{"step": step, "tokens": 100 * step, **SOUND, **metrics} for step in range(1, 17)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Call the command line in this process and return its exit code."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def call(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["benchmark", "gate", *map(str, words)])
        try:
            return run_cli(main)
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 99

    return call


@pytest.fixture
def baseline(tmp_path: Path, gate: Gate) -> Path:
    path = tmp_path / "baseline.json"
    folder = make_folder(tmp_path / "base")
    assert gate(folder, "--write-baseline", path, "--reason", "first of all") == 0
    return path


def verdict(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "gate/gate.json").read_text()))
