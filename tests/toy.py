"""A suite on disk, written by hand: run folders with tiny checkpoints, and texts whose verdicts are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from benchmark.jobs.runs import read_runs
from benchmark.rows import ResultRow
from benchmark.scoring.aggregate import aggregate
from benchmark.scoring.score import score
from benchmark.store import Sample, open_store
from benchmark.suite import Suite, run_folder
from benchmark.texts.units import WantedUnit, wanted_unit
from tasks.catalog import load_problems
from tasks.checkpoints import inspect_checkpoint
from tasks.engines import Finish

ENGINE = "transformers"
EFFECTIVE = {"engine": ENGINE, "device": "cpu", "seconds": 1.5}
STEPS = (0, 2, 4)
SIZE = {"validation": 40, "test": 80}
Place = tuple[str, int | None, int]
"""Arm, seed, step."""


def make_suite(**changes: Any) -> Suite:
    fields = {
        "name": "toy",
        "summary": "",
        "recipe": "embedded",
        "arms": ["grpo", "lambda_grpo"],
        "baseline": "grpo",
        "seeds": [0, 1],
        "tasks": ["sums1"],
    }
    return Suite.model_validate(fields | changes)


def write_checkpoint(folder: Path, number: float) -> None:
    folder.mkdir(parents=True)
    save_file({"weight": np.full(4, number, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"vocab_size": 1}')
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')


def write_run(out: Path, arm: str, seed: int, *, base: float = 0.0, steps: tuple[int, ...] = STEPS) -> Path:
    folder = run_folder(out, arm, seed)
    for step in steps:
        write_checkpoint(
            folder / "checkpoints" / f"step_{step:06d}", hash_free(arm, seed, step) if step else base
        )
    logged = range(1, max(steps) + 1)
    metrics = [{"step": step, "tokens": 100 * step + seed} for step in logged]
    timings = [{"step": step, "time/step_s": 0.5} for step in logged]
    for name, lines in (("metrics", metrics), ("timings", timings)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.json").write_text(
        json.dumps({"config": {"policy": "tiny"}, "config_hash": f"{arm}{seed}"})
    )
    made_with = {"git_sha": "abc", "git_dirty": False, "versions": {"torch": "2"}, "device": "EPYC"}
    manifest = {"state": "done", **made_with}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def hash_free(arm: str, seed: int, step: int) -> float:
    """A number of its own for every checkpoint of fewer than 1000 seeds."""
    return 10_000 * ["grpo", "lambda_grpo"].index(arm) + 10 * seed + step


def texts(suite: Suite, split: str, right: int) -> list[Sample]:
    """`right` items right in all samples, one more in sample 0 alone; then 3 unparsed, 2 truncated, wrong."""
    samples = []
    for at, problem in enumerate(load_problems("sums1", split)):  # type: ignore[arg-type]
        for index in range(suite.decoding("sums1").samples):
            if at < right or (at == right and index == 0):
                text, finish = f"The answer is {problem.gold}", Finish.STOP
            elif at - right in (1, 2, 3):
                text, finish = "no idea", Finish.STOP
            elif at - right in (4, 5):
                text, finish = "thinking of 77", Finish.LENGTH
            else:
                text, finish = "77", Finish.STOP
            samples.append(
                Sample(
                    item=problem.id,
                    index=index,
                    text=text,
                    tokens=at % 5,
                    finish=finish,
                    seed=0,
                    prompt_hash="",
                )
            )
    return samples


def write_texts(suite: Suite, out: Path, right: dict[Place, int]) -> None:
    """`right`: (arm, seed, step) -> items right; the base is ("base", None, 0)."""
    with open_store(out).writer("toy") as writer:
        for place, count in right.items():
            for split in SIZE:
                request = find_unit(suite, out, place, split).request
                writer.append(request, EFFECTIVE, texts(suite, split, count))


def find_unit(suite: Suite, out: Path, place: Place, split: str = "test") -> WantedUnit:
    """Return the unit of a checkpoint by arm, seed and step."""
    arm, seed, step = place
    folder = run_folder(out, *((suite.arms[0], suite.seeds[0]) if seed is None else (arm, seed)))
    found = inspect_checkpoint(folder / "checkpoints" / f"step_{step:06d}")
    return wanted_unit(suite, found, "sums1", split, ENGINE)  # type: ignore[arg-type]


RIGHT: dict[Place, int] = {
    ("base", None, 0): 4,
    ("grpo", 0, 2): 8,
    ("grpo", 0, 4): 10,
    ("grpo", 1, 2): 7,
    ("grpo", 1, 4): 0,
    ("lambda_grpo", 0, 2): 12,
    ("lambda_grpo", 0, 4): 16,
    ("lambda_grpo", 1, 2): 9,
    ("lambda_grpo", 1, 4): 20,
}


def write_suite(out: Path) -> Path:
    """Write two arms x two seeds x three checkpoints with all their texts, greedy."""
    for arm in ("grpo", "lambda_grpo"):
        for seed in (0, 1):
            write_run(out, arm, seed)
    write_texts(make_suite(), out, RIGHT)
    return out


def all_rows(suite: Suite, out: Path, engine: str = ENGINE) -> list[ResultRow]:
    """Grade what has no grade, and aggregate."""
    runs = read_runs(suite, out)
    score(suite, runs, out, engine)
    return aggregate(suite, runs, out, engine)


def by_place(rows: list[ResultRow]) -> dict[tuple[str, int | None, int, str], ResultRow]:
    return {(row.arm, row.seed, row.step, row.split): row for row in rows if row.metric == "accuracy"}
