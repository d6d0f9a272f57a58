"""A suite's folder with made-up grades, as large as wanted; the real writer writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from benchmark.jobs.runs import read_runs
from benchmark.scoring.grades import Header, grades_path, write_grades
from benchmark.suite import Suite, load_suite, run_folder
from benchmark.texts.units import WantedUnit, wanted_units
from tasks.catalog import load_problems
from tasks.files import write_text
from tasks.grading import GRADER_VERSION
from tasks.sampled import RIGHT
from tasks.schema import Status
from tasks.seeds import derive_seed

ARMS = ("grpo", "lambda_grpo", "grpo_scale_matched", "lambda_permuted")
TASKS = ("add2", "add3")
SAMPLES = 16
ENGINE = "transformers"
STATUSES = (Status.CORRECT, Status.WRONG, Status.UNPARSED, Status.TRUNCATED, Status.ERROR)
ODD = (0.03, 0.02, 0.001)
"""Chances of the last three statuses."""
ANSWERS = 40
"""Different wrong answers to an item."""


class Size(NamedTuple):
    """How much is made; four arms, two tasks and sixteen samples of an item stay the same."""

    seeds: int
    checkpoints: int
    """Of each run, the untrained policy not counted."""


def make_folder(folder: Path, size: Size) -> tuple[Suite, Path, int]:
    """Write a suite file, its run folders and all grades.

    Returns:
        The suite, its file, and the number of samples.
    """
    text = "\n".join(
        [
            'summary = "made up"',
            'recipe = "embedded"',
            f"arms = {json.dumps(ARMS)}",
            'baseline = "grpo"',
            f"seeds = {list(range(size.seeds))}",
            f"tasks = {json.dumps(TASKS)}",
            "temperature = 1.0",
            f"samples = {SAMPLES}",
        ]
    )
    path = folder / "made_up.toml"
    write_text(path, text + "\n")
    suite, out = load_suite(str(path)), folder / "out"
    for arm in ARMS:
        for seed in suite.seeds:
            _write_run(run_folder(out, arm, seed), arm, seed, size.checkpoints)
    units = wanted_units(suite, read_runs(suite, out), ENGINE)
    return suite, path, sum(_write_unit(out, unit) for unit in units)


def _write_run(folder: Path, arm: str, seed: int, checkpoints: int) -> None:
    steps = [10 * at for at in range(checkpoints + 1)]
    for step in steps:
        place = folder / "checkpoints" / f"step_{step:06d}"
        place.mkdir(parents=True)
        content = derive_seed(arm, seed, step) if step else 0
        save_file({"weight": np.array([content], dtype=np.int64)}, place / "model.safetensors")
        (place / "config.json").write_text('{"vocab_size": 1}')
        (place / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    logged = range(1, steps[-1] + 1)
    lines: dict[str, list[dict[str, float]]] = {
        "metrics": [{"step": step, "tokens": 1000 * step} for step in logged],
        "timings": [{"step": step, "time/step_s": 0.5} for step in logged],
    }
    for name, records in lines.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    config = {"config": {"policy": "made up"}, "config_hash": f"{arm} {seed}"}
    (folder / "config.json").write_text(json.dumps(config))
    manifest = {"state": "done", "git_sha": "made up", "git_dirty": False, "versions": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _write_unit(out: Path, unit: WantedUnit) -> int:
    """Write the grades of one checkpoint on one split: items of all difficulties, right more often later."""
    items = [problem.id for problem in load_problems(unit.task, unit.split)]
    rng = np.random.default_rng(derive_seed(unit.key))
    step = int(unit.checkpoint.folder.name.removeprefix("step_"))
    lift = 0.4 * step / (50 + step)
    difficulty_i = np.random.default_rng(derive_seed(unit.task, unit.split)).beta(0.6, 0.9, len(items))
    right_s = np.repeat(difficulty_i + lift * (1 - difficulty_i), SAMPLES) * (1 - sum(ODD))
    draw_s = rng.random(len(right_s))
    bounds = np.cumsum([1 - sum(ODD), *ODD])
    status_s = np.where(draw_s < right_s, 0, 1 + np.searchsorted(bounds, draw_s))
    answer_s = np.minimum(rng.geometric(0.3, len(right_s)), ANSWERS)
    votes = np.array([RIGHT, *map(str, range(1, ANSWERS + 1)), ""])
    hashes = rng.bytes(8 * len(right_s)).hex()
    columns: dict[str, Any] = {
        "item": np.repeat(items, SAMPLES),
        "index": np.tile(np.arange(SAMPLES), len(items)),
        "status": np.array([str(one) for one in STATUSES])[status_s],
        "score": [None if status == 4 else int(status == 0) for status in status_s],
        "found": np.where(answer_s % 7 == 0, "loose", "box"),
        "vote": votes[np.select([status_s == 0, status_s == 1], [0, answer_s], ANSWERS + 1)],
        "tokens": 20 + answer_s,
        "finish": np.where(status_s == 3, "length", "stop"),
        "text_hash": [hashes[at : at + 16] for at in range(0, len(hashes), 16)],
        "detail": [("made up" if status == 4 else None) for status in status_s],
    }
    effective = [{"engine": ENGINE, "device": "cpu", "seconds": 1.0, "weights": "swapped"}]
    header = Header(request=unit.request, effective=effective, grader=GRADER_VERSION, kind="math")
    write_grades(grades_path(out, unit.key), header, columns)
    return len(right_s)
