"""Grades and run folders to rows: counts are checked before any mean. No text, no model, no grader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path

from benchmark.jobs.runs import TrainedRun
from benchmark.rows import ResultRow, append_rows, identity, read_rows
from benchmark.scoring.grades import Header, grades_of
from benchmark.scoring.measure import READ, Columns, arrange, item_clusters, measure, not_measured
from benchmark.scoring.score import FAILURES, Failures
from benchmark.suite import BASE, Suite
from benchmark.texts.units import WantedUnit, wanted_unit
from tasks.catalog import load_problems, missing_sets, task_version
from tasks.errors import UserError
from tasks.files import in_turn
from tasks.grading import GRADER_VERSION
from tasks.provenance import utc_now
from tasks.schema import Problem, Split

TIMES = {"train_s", "wall_s", "scored_at"}
"""Columns that differ between two runs of the same thing."""
_made_of = attrgetter("weights_hash", "config_hash", "task_version", "n_samples")
"""What a number is of: where one of these changed, the old number is another checkpoint's or task's."""
PLAIN = {"opened", "swapped"}
"""Ways in which weights get into an engine that need no note."""


def aggregate(suite: Suite, runs: Sequence[TrainedRun], out: Path, engine: str) -> list[ResultRow]:
    """Reduce every unit of the suite and append what is new to OUT/rows.jsonl.

    Returns:
        All rows of the suite, the untrained policy first.

    Raises:
        UserError: grades are missing or damaged: nothing counts as wrong because it is not there.
        InfrastructureError: the grader failed on more than 0.5 % of the texts; no row is written.
    """
    failures = Failures()
    rows = list(make_rows(suite, runs, out, engine, failures))
    failures.check()
    path = out / "rows.jsonl"
    with in_turn(path):  # of two at work, the second finds the rows of the first
        known = {identity(row): row for row in read_rows(path)}
        _refuse_other_endpoints(path, rows, known)
        rows = [_kept(row, known.get(identity(row))) for row in rows]
        append_rows(path, [row for row in rows if content(known.get(identity(row))) != content(row)])
    return rows


def content(row: ResultRow | None) -> dict[str, object] | None:
    """Return what two measurements of the same thing have to agree on."""
    return None if row is None else row.model_dump(exclude=TIMES)


def make_rows(
    suite: Suite,
    runs: Sequence[TrainedRun],
    out: Path,
    engine: str,
    failures: Failures,
    grader: str = GRADER_VERSION,
) -> Iterator[ResultRow]:
    """Yield every row of the suite, task by task; each unit is read once.

    Args:
        suite: what is wanted.
        runs: of the suite.
        out: its folder.
        engine: that generated the texts.
        failures: takes what the grader failed on.
        grader: version whose grades are read.
    """
    missing = missing_sets(suite.tasks)
    for task, split in suite.scored():
        problems = [] if task in missing else load_problems(task, split)
        known: dict[str, list[Columns]] = {}  # unit -> columns; runs share their base
        for run, step in _places(runs):
            if task in missing:
                values = not_measured(engine, suite.decoding(task).samples, missing[task])
            else:
                unit = wanted_unit(suite, run.checkpoints[step], task, split, engine)
                if unit.key not in known:
                    known[unit.key] = _measured(suite, unit, problems, out, grader, failures)
                values = known[unit.key]
            yield from (_row(suite, run, step, task, split, columns) for columns in values)


def _places(runs: Sequence[TrainedRun]) -> list[tuple[TrainedRun, int]]:
    """Return every checkpoint, the untrained policy that all runs share once and first."""
    return [(runs[0], 0)] + [(run, step) for run in runs for step in sorted(run.checkpoints) if step > 0]


def _measured(
    suite: Suite, unit: WantedUnit, problems: list[Problem], out: Path, grader: str, failures: Failures
) -> list[Columns]:
    header, table = grades_of(out, unit.key, sorted({*READ, *FAILURES}), grader)
    samples = arrange(table, problems, suite.decoding(unit.task).samples, str(unit))
    assert header is not None  # a unit without a file has no grade of any sample
    failures.add(table)
    shared = _generated(header, unit)
    return [shared | columns for columns in measure(samples, item_clusters(problems))]


def _generated(header: Header, unit: WantedUnit) -> Columns:
    """Return what is known about how the texts of a unit came about."""
    notes = {one.get("weights", "opened") for one in header.effective} - PLAIN
    versions = {unit.request["engine"]: "version", "torch": "torch", "lm-eval": "lm_eval"}
    said = {name: {one[key] for one in header.effective if key in one} for name, key in versions.items()}
    return {
        "engine": unit.request["engine"],
        "device": ", ".join(sorted({one["device"] for one in header.effective})),
        "wall_s": round(sum(one["seconds"] for one in header.effective), 3),
        "weights_note": "; ".join(sorted(notes)),
        "n_conflicts": header.conflicts,
        "measured_with": {name: ", ".join(sorted(found)) for name, found in said.items() if found},
        "sample_key": unit.key,
    }


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
            "train_device": str(run.manifest.get("device") or "") if step else "",
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
            "endpoints": suite.endpoints.digest(),
            "scored_at": utc_now(),
        }
    )


def _refuse_other_endpoints(
    path: Path, rows: Sequence[ResultRow], known: Mapping[tuple[object, ...], ResultRow]
) -> None:
    """What a comparison is judged by is declared before it is measured; older rows have no declaration."""
    for row in rows:
        before = known.get(identity(row))
        if before is not None and before.endpoints not in ("", row.endpoints):
            raise UserError(
                f"{path}: measured under other [endpoints] than suite {row.suite!r} declares now; "
                "declare those again, or measure into a new --out"
            )


def _kept(row: ResultRow, known: ResultRow | None) -> ResultRow:
    """Return a row, or the one that was measured of the same weights while its set was on the machine."""
    if not row.missing or known is None or known.value is None:
        return row
    return known if _made_of(known) == _made_of(row) else row
