"""What the run folders of a suite hold. The contract is the files; who wrote them does not matter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.jobs.retention import deleted_of
from benchmark.suite import Suite, run_folder
from tasks.checkpoints import Checkpoint, check_asking, check_tokenizer, inspect_checkpoint
from tasks.errors import UserError

AGAIN = "delete the run folder and run the suite to train it again"


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
    """Step -> sound checkpoint, step 0 included. What the retention rule deleted is here too, without its
    folder."""
    progress: dict[int, tuple[int, float]]
    """Step -> (completion tokens, seconds of training) so far."""


def read_runs(suite: Suite, out: Path) -> list[TrainedRun]:
    """Read every run that the suite declares.

    Raises:
        UserError: a run is missing or unfinished, or runs start from different weights, tokenizers, chat
            templates, ends or configs.
    """
    runs = [_read_run(run_folder(out, arm, seed), arm, seed) for arm in suite.arms for seed in suite.seeds]
    first = runs[0]
    base = first.checkpoints[0]
    for run in runs:
        for checkpoint in run.checkpoints.values():
            check_tokenizer(checkpoint, base.tokenizer_hash, str(base.folder))
            check_asking(checkpoint, base)
            _check_config(checkpoint, base)
    for run in runs[1:]:
        if run.checkpoints[0].weights_hash != first.checkpoints[0].weights_hash:
            raise UserError(
                f"{run.folder}: starts from other weights than {first.folder}; arms compare from one start"
            )
        if run.checkpoints.keys() != first.checkpoints.keys():
            raise UserError(
                f"{run.folder}: has checkpoints {sorted(run.checkpoints)}, {first.folder} has "
                f"{sorted(first.checkpoints)}; train both with the same steps, or delete the run folder that "
                "lost one to train it again"
            )
    return runs


def _check_config(checkpoint: Checkpoint, base: Checkpoint) -> None:
    """Other words in config.json may say the same thing, which transformers is asked about."""
    if checkpoint.config_hash != base.config_hash and checkpoint.folder.is_dir() and base.folder.is_dir():
        from tasks.engines.proof import check_architecture  # brings torch

        check_architecture(base.folder, checkpoint.folder, f"arms compare with the config of {base.folder}")


def _read_run(folder: Path, arm: str, seed: int) -> TrainedRun:
    try:
        manifest = read_record(folder / "manifest.json", ("state", "git_sha", "git_dirty", "versions"))
        config = read_record(folder / "config.json", ("config", "config_hash"))
        progress = _progress(folder)
    except FileNotFoundError as error:
        if not (folder / "manifest.json").exists():
            raise UserError(
                f"{error.filename}: missing, so {arm} seed {seed} was not trained; run the suite"
            ) from None
        raise UserError(f"{error.filename}: missing, though the run has a manifest; {AGAIN}") from None
    if manifest["state"] != "done":
        raise UserError(
            f"{folder}: state is {manifest['state']!r}, want 'done'; run the suite again to finish it"
        )
    checkpoints = deleted_of(folder, config["config_hash"]) | {
        step: sound(path) for step, path in step_folders(folder).items()
    }
    if 0 not in checkpoints:
        raise UserError(
            f"{folder}: checkpoint step_000000 is missing; it is the base that accuracy rises from"
        )
    if unlogged := sorted(checkpoints.keys() - progress.keys()):
        raise UserError(
            f"{folder / 'metrics.jsonl'}: no line for step {unlogged[0]}, which has a checkpoint; {AGAIN}"
        )
    return TrainedRun(
        arm=arm,
        seed=seed,
        folder=folder,
        config=config["config"],
        config_hash=config["config_hash"],
        manifest=manifest,
        checkpoints=checkpoints,
        progress=progress,
    )


def is_done(folder: Path) -> bool:
    """Say whether a run ended well and its checkpoints are still there.

    Raises:
        UserError: its manifest is damaged.
    """
    try:
        manifest = read_record(folder / "manifest.json", ("state",))
    except FileNotFoundError:
        return False
    return manifest["state"] == "done" and any((folder / "checkpoints").glob("step_*"))


def looks_done(folder: Path) -> bool:
    """Say the same while trainers are at work, when a manifest may be half written."""
    with suppress(UserError):
        return is_done(folder)
    return False


def read_record(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read a JSON object of the run folder; adapters write it too, so what it must hold is checked."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in keys if key not in record]
    except (ValueError, TypeError):
        raise UserError(f"{path}: not a JSON object; {AGAIN}") from None
    if missing:
        raise UserError(f"{path}: has no {missing[0]!r}; {AGAIN}")
    return dict(record)


def step_folders(folder: Path) -> dict[int, Path]:
    """Return step -> folder of the checkpoints that a run has under their own names."""
    return {_step(path): path for path in sorted((folder / "checkpoints").glob("step_*"))}


def sound(folder: Path) -> Checkpoint:
    """Inspect a checkpoint that may be deleted meanwhile.

    Raises:
        UserError: it is not sound, or it is gone.
    """
    try:
        return inspect_checkpoint(folder)
    except FileNotFoundError:
        raise UserError(f"{folder}: deleted while it was read; put it back, or {AGAIN}") from None


def _step(folder: Path) -> int:
    number = folder.name.removeprefix("step_")
    if not number.isdecimal():
        raise UserError(f"{folder}: not the name of a checkpoint; want step_000010 and the like")
    return int(number)


def _progress(folder: Path) -> dict[int, tuple[int, float]]:
    """Return step -> (completion tokens, seconds) so far, from the metrics and the timings."""
    seconds_at, seconds = {0: 0.0}, 0.0
    timings = folder / "timings.jsonl"
    for step, taken in _column(timings, "time/step_s"):
        seconds += taken
        seconds_at[step] = seconds
    progress = {0: (0, 0.0)}
    for step, tokens in _column(folder / "metrics.jsonl", "tokens"):
        if step not in seconds_at:
            raise UserError(f"{timings}: no line for step {step}, which has metrics; {AGAIN}")
        progress[step] = (tokens, seconds_at[step])
    return progress


def _column(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    """Yield (step, value) of every line."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            step, value = int(record["step"]), record[name] + 0
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{path}:{number}: no numbers step and {name} there; {AGAIN}") from None
        yield step, value


def distinct_checkpoints(runs: list[TrainedRun]) -> list[Checkpoint]:
    """Return one folder per distinct content, in the order of steps: the base stands once, first.

    Of several folders with the same content it is one that is still there, if any is.
    """
    found: dict[str, Checkpoint] = {}
    for step in sorted(runs[0].checkpoints):
        for run in runs:
            one = run.checkpoints[step]
            if not found.setdefault(one.id, one).folder.is_dir():
                found[one.id] = one
    return list(found.values())
