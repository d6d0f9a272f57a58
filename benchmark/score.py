"""Stored texts to result rows. No model is needed: a new grader is a CPU job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmark.generate import sample_request
from benchmark.measure import Columns, measure, not_measured
from benchmark.rows import IDENTITY, ResultRow, append_rows, read_rows
from benchmark.runs import TrainedRun
from benchmark.store import open_store, sample_key
from benchmark.suite import BASE, Suite
from tasks.catalog import find_task, load_problems, missing_sets, task_version
from tasks.checkpoints import Checkpoint
from tasks.errors import UserError
from tasks.grading import check_error_rate
from tasks.provenance import utc_now
from tasks.schema import Grade, Split

TIMES = {"train_s", "wall_s", "scored_at"}
"""Columns that differ between two runs of the same thing."""


def score(suite: Suite, runs: list[TrainedRun], out: Path, engine: str) -> list[ResultRow]:
    """Grade every stored text of the suite and append what is new to OUT/rows.jsonl.

    Returns:
        All rows of the suite, the untrained policy first.

    Raises:
        UserError: texts are missing or damaged: nothing is scored as wrong because it is not there.
        InfrastructureError: the grader failed on more than 0.5 % of them; no row is written.
    """
    missing = missing_sets(suite.tasks)
    graded: list[Grade] = []  # of the whole suite, each text once
    rows = []
    for task, split in suite.scored():
        if task in missing:
            columns = _missing(not_measured(engine, suite.decoding(task).samples, missing[task]))
        else:
            columns = _measured(suite, out, task, split, engine, graded)
        rows += _rows(suite, runs, task, split, columns)
    check_error_rate(graded)
    path = out / "rows.jsonl"
    known = {_identity(row): row for row in read_rows(path)} if path.exists() else {}
    rows = [_kept(row, known.get(_identity(row))) for row in rows]
    append_rows(path, [row for row in rows if _content(known.get(_identity(row))) != _content(row)])
    return rows


def _kept(row: ResultRow, known: ResultRow | None) -> ResultRow:
    """Return a row, or the one that was measured while its set was still on the machine."""
    return known if row.missing and known is not None and known.value is not None else row


def _identity(row: ResultRow) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in IDENTITY)


def _content(row: ResultRow | None) -> dict[str, object] | None:
    return None if row is None else row.model_dump(exclude=TIMES)


def _missing(nothing: list[Columns]) -> Callable[[Checkpoint], list[Columns]]:
    """Return what gives every checkpoint the same empty columns."""

    def columns(checkpoint: Checkpoint) -> list[Columns]:
        del checkpoint
        return nothing

    return columns


def _measured(
    suite: Suite, out: Path, task: str, split: Split, engine: str, graded: list[Grade]
) -> Callable[[Checkpoint], list[Columns]]:
    """Return what measures a checkpoint on a split, once; the grades are added to `graded`."""
    problems, kind = load_problems(task, split), find_task(task).answer
    store = open_store(out)
    known: dict[str, list[Columns]] = {}  # weights -> columns; runs share their base

    def columns(checkpoint: Checkpoint) -> list[Columns]:
        if checkpoint.weights_hash not in known:
            key = sample_key(sample_request(suite, checkpoint, task, split, engine))
            if key not in store.counts():
                raise UserError(
                    f"{checkpoint.folder}: no texts for {task} {split}; run the suite to generate them"
                )
            known[checkpoint.weights_hash], grades = measure(
                store.read(key), problems, kind, suite.decoding(task).samples
            )
            graded.extend(grades)
        return known[checkpoint.weights_hash]

    return columns


def _rows(
    suite: Suite,
    runs: list[TrainedRun],
    task: str,
    split: Split,
    columns: Callable[[Checkpoint], list[Columns]],
) -> list[ResultRow]:
    places = [(runs[0], 0)]
    places += [(run, step) for run in runs for step in sorted(run.checkpoints) if step > 0]
    return [
        _row(suite, run, step, task, split, values)
        for run, step in places
        for values in columns(run.checkpoints[step])
    ]


def _row(suite: Suite, run: TrainedRun, step: int, task: str, split: Split, columns: Columns) -> ResultRow:
    tokens, seconds = run.progress[step]
    return ResultRow.model_validate(
        {
            **columns,
            "kind": suite.kind,
            "suite": suite.name,
            "arm": run.arm if step else BASE,
            "model": run.config["policy"],
            "step": step,
            "seed": run.seed if step else None,
            "tokens": tokens,
            "train_s": round(seconds, 3),
            "task": task,
            "split": split,
            "task_version": task_version(task),
            "higher_is_better": True,
            **asdict(suite.decoding(task).sampling),
            "config_hash": run.config_hash,
            "weights_hash": run.checkpoints[step].weights_hash,
            "git_sha": run.manifest["git_sha"],
            "git_dirty": run.manifest["git_dirty"],
            "versions": run.manifest["versions"],
            "scored_at": utc_now(),
        }
    )
