"""Checkpoints scored as they appear: found, answered, graded, and let go by the retention rule."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmark.executor import Executor
from benchmark.executor.answer import work_items
from benchmark.jobs.progress import Stage
from benchmark.jobs.retention import Deleted, delete, deleted_of, kept, sweep_deleted
from benchmark.jobs.runs import TrainedRun, read_record, sound, step_folders
from benchmark.scoring.grades import grades_of
from benchmark.scoring.measure import READ, arrange
from benchmark.scoring.score import grade_units
from benchmark.store import open_store
from benchmark.suite import Suite, run_folder
from benchmark.texts.generate import measurable
from benchmark.texts.units import wanted_unit
from tasks.catalog import load_problems
from tasks.checkpoints import Checkpoint
from tasks.errors import UserError

LOOK_S = 2.0
"""Seconds between two looks at the run folders."""
RESUMES = 2
"""The newest checkpoints that stay while training goes on: a trainer that is stopped right after it wrote one
resumes from the one before."""


@dataclass
class _Followed:
    """One run as far as it is known."""

    folder: Path
    config_hash: str = ""
    found: dict[int, Checkpoint] = field(default_factory=dict)
    """Step -> checkpoint, deleted ones included."""
    seen: dict[int, tuple[int, int] | None] = field(default_factory=dict)
    """Step -> the folder that was looked into; a trainer may put another one there."""
    validation: dict[Checkpoint, float | None] = field(default_factory=dict)
    """Mean accuracy on validation, of what is graded."""


class Follower:
    """Watches run folders and keeps an executor busy; an `Activity` of `benchmark.jobs.launch`."""

    def __init__(
        self,
        suite: Suite,
        out: Path,
        engine: str,
        executor: Executor,
        trained: Callable[[], bool],
        stage: Stage,
        *,
        grade: bool,
    ) -> None:
        """Begin to watch.

        Args:
            suite: whose runs are watched.
            out: the results folder.
            engine: "transformers" or "vllm".
            executor: gets an item for every checkpoint that lacks texts.
            trained: says whether no more checkpoints come.
            stage: shows how many completions there are.
            grade: also grade what is answered, and apply the suite's retention rule.
        """
        self._suite, self._out, self._engine, self._executor = suite, out, engine, executor
        self._trained, self._stage, self._grade = trained, stage, grade
        self._store = open_store(out)
        self._runs = [_Followed(run_folder(out, arm, seed)) for arm in suite.arms for seed in suite.seeds]
        self._items: dict[str, int] = {}
        """Item -> completions that were missing, of everything that was handed on."""
        self._next_look = 0.0
        self._over = False

    def step(self) -> bool:
        """Look for checkpoints now and then; hand them on, grade what is answered, let go what may go."""
        now = time.monotonic()
        if self._over or now < self._next_look:
            return self._over
        self._next_look = now + LOOK_S
        over = self._trained()  # before the look: what was written last is seen by it
        for run in self._runs:
            self._find(run)
        self._stage.update(self._executor.completions(), sum(self._items.values()))
        waiting = [step for run in self._runs for step in self._handle(run, over)]
        if over:
            self._executor.close()
        self._over = over and not waiting
        return self._over

    def stop(self) -> None:
        """Nothing of it goes on."""

    def _find(self, run: _Followed) -> None:
        """Take note of new checkpoints, and hand on those that lack texts."""
        if not run.config_hash:
            try:
                run.config_hash = str(
                    read_record(run.folder / "config.json", ("config_hash",))["config_hash"]
                )
            except FileNotFoundError:
                return
            run.found = deleted_of(run.folder, run.config_hash)
            gone = [one for one in run.found.values() if not one.folder.is_dir()]
            work_items(self._suite, gone, self._store, self._engine)  # refuses, if one lacks texts
            sweep_deleted(run.folder)
        for step, path in step_folders(run.folder).items():
            sign = _sign(path)
            if step in run.seen and run.seen[step] == sign:
                continue
            try:
                checkpoint = sound(path)
            except UserError:
                if sign and sign == _sign(path):
                    raise
                continue  # a resumed trainer writes its newest checkpoint again: it is back at the next look
            if sign != _sign(path):
                continue
            run.found[step], run.seen[step] = checkpoint, sign
            items = work_items(self._suite, [run.found[step]], self._store, self._engine)
            self._items |= {item.id: item.completions for item in items}
            self._executor.add(items)

    def _handle(self, run: _Followed, over: bool) -> list[int]:
        """Grade what is answered and apply the rule; returns the steps that still wait for their texts."""
        failed = {failure.item for failure in self._executor.failures()}
        unanswered = self._items.keys() - self._executor.done()
        waiting, scored = [], {}
        for step, checkpoint in sorted(run.found.items()):
            item = checkpoint.id
            if item in unanswered and item not in failed:
                waiting.append(step)
            elif self._grade and item not in failed:
                if checkpoint not in run.validation:
                    run.validation[checkpoint] = validation_of(
                        self._suite, self._out, checkpoint, self._engine
                    )
                scored[step] = run.validation[checkpoint]
        if self._grade:
            spared = () if over else sorted(step_folders(run.folder))[-RESUMES:]
            apply_rule(self._suite, run.folder, run.config_hash, run.found, scored, spared)
        return waiting


def _sign(path: Path) -> tuple[int, int] | None:
    """Return what tells a folder from the next one under its name; None where there is none now."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def validation_of(suite: Suite, out: Path, checkpoint: Checkpoint, engine: str) -> float | None:
    """Grade every text of a checkpoint and return its mean accuracy on validation over the tasks.

    When this returns, texts and grades of all its tasks and splits are on the disk.

    Returns:
        None where no validation item could be graded.

    Raises:
        UserError: texts are missing or damaged.
    """
    units = [wanted_unit(suite, checkpoint, task, split, engine) for task, split in measurable(suite)]
    grade_units(out, open_store(out), units)
    means = []
    for unit in units:
        _, table = grades_of(out, unit.key, READ)
        problems = load_problems(unit.task, unit.split)
        graded = arrange(
            table, problems, suite.decoding(unit.task).samples, str(unit)
        )  # complete, or an error
        if unit.split == "validation":
            means += _item_means(graded.score_ik)
    return float(np.mean(means)) if means else None


def _item_means(score_ik: np.ndarray) -> list[float]:
    """Return the mean over the items that could be graded, if there are any."""
    known = score_ik[~np.isnan(score_ik).all(axis=1)]
    return [float(np.nanmean(known, axis=1).mean())] if len(known) else []


def apply_rule(
    suite: Suite,
    run: Path,
    config_hash: str,
    found: Mapping[int, Checkpoint],
    validation: Mapping[int, float | None],
    spared: Collection[int] = (),
) -> None:
    """Delete the checkpoints of a run that are scored and that the suite's rule does not keep.

    Args:
        suite: with the rule, if it has one.
        run: the run folder.
        config_hash: of the run.
        found: step -> checkpoint, deleted ones included.
        validation: step -> mean accuracy on validation, of the scored ones.
        spared: steps that stay for now.
    """
    if suite.retention is None:
        return
    stay = kept(suite.retention, found, validation)
    for step in sorted(found.keys() - stay - set(spared)):
        one = found[step]
        if one.folder.is_dir():
            line = Deleted(
                step=step,
                config_hash=config_hash,
                weights=one.weights_hash,
                tokenizer=one.tokenizer_hash,
                asking=one.asking_hash,
                config=one.config_hash,
                bytes=one.bytes,
                validation=validation[step],
            )
            delete(run, line)


def retain(suite: Suite, runs: Sequence[TrainedRun], out: Path, engine: str) -> None:
    """Apply the rule to finished runs whose checkpoints are all scored."""
    for run in runs:
        sweep_deleted(run.folder)
    if suite.retention is None:
        return
    for run in runs:
        validation = {
            step: validation_of(suite, out, checkpoint, engine)
            for step, checkpoint in run.checkpoints.items()
        }
        apply_rule(suite, run.folder, run.config_hash, run.checkpoints, validation)


def not_done(suite: Suite, out: Path) -> list[str]:
    """Return the runs of a suite that are not done, with what they are."""
    states = []
    for arm in suite.arms:
        for seed in suite.seeds:
            try:
                state = read_record(run_folder(out, arm, seed) / "manifest.json", ("state",))["state"]
            except FileNotFoundError:
                state = "not begun"
            except UserError:
                state = "being written"
            if state != "done":
                states.append(f"{arm} seed {seed} ({state})")
    return states
