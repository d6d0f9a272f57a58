"""What the run folders of a suite hold. The contract is the files; who wrote them does not matter."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.suite import Suite, run_folder
from tasks.checkpoints import Checkpoint, inspect_checkpoint
from tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """One finished run with its checkpoints."""

    arm: str
    seed: int
    folder: Path
    config: dict[str, Any]
    config_hash: str
    manifest: dict[str, Any]
    checkpoints: dict[int, Checkpoint]
    """Step -> sound checkpoint, step 0 included."""
    progress: dict[int, tuple[int, float]]
    """Step -> (completion tokens, seconds of training) so far."""


def read_runs(suite: Suite, out: Path) -> list[TrainedRun]:
    """Read every run that the suite declares.

    Raises:
        UserError: a run is missing or unfinished, or runs start from different weights.
    """
    runs = [_read_run(run_folder(out, arm, seed), arm, seed) for arm in suite.arms for seed in suite.seeds]
    first = runs[0]
    for run in runs[1:]:
        if run.checkpoints[0].weights_hash != first.checkpoints[0].weights_hash:
            raise UserError(
                f"{run.folder}: starts from other weights than {first.folder}; arms compare only from one start"
            )
        if run.checkpoints.keys() != first.checkpoints.keys():
            raise UserError(
                f"{run.folder}: has checkpoints {sorted(run.checkpoints)}, {first.folder} has "
                f"{sorted(first.checkpoints)}; train both with the same steps"
            )
    return runs


def _read_run(folder: Path, arm: str, seed: int) -> TrainedRun:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: missing, so {arm} seed {seed} was not trained; run the suite") from None
    if manifest["state"] != "done":
        raise UserError(f"{folder}: state is {manifest['state']!r}, want 'done'; run the suite again to finish it")
    folders = sorted((folder / "checkpoints").glob("step_*"))
    checkpoints = {int(path.name.removeprefix("step_")): inspect_checkpoint(path) for path in folders}
    if 0 not in checkpoints:
        raise UserError(f"{folder}: checkpoint step_000000 is missing; it is the base that accuracy rises from")
    return TrainedRun(
        arm=arm,
        seed=seed,
        folder=folder,
        config=config["config"],
        config_hash=config["config_hash"],
        manifest=manifest,
        checkpoints=checkpoints,
        progress=_progress(folder),
    )


def _progress(folder: Path) -> dict[int, tuple[int, float]]:
    progress, seconds = {0: (0, 0.0)}, 0.0
    for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        metrics = json.loads(line)
        seconds += metrics["time/step_s"]
        progress[metrics["step"]] = (metrics["tokens"], seconds)
    return progress


def distinct_checkpoints(runs: list[TrainedRun]) -> list[Checkpoint]:
    """Return one folder per distinct weights, in the order of steps: the base stands once, first."""
    found: dict[str, Checkpoint] = {}
    for step in sorted(runs[0].checkpoints):
        for run in runs:
            found.setdefault(run.checkpoints[step].weights_hash, run.checkpoints[step])
    return list(found.values())
