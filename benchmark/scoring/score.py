"""Stored texts to grades. No model is needed: a new grader is a CPU job.

A text is graded once by every version of the grader; what has its grade already is left alone. Texts of many
units go to the grader together, so its workers start once and none waits for the last text of a unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.jobs.progress import tell
from benchmark.jobs.runs import TrainedRun
from benchmark.scoring.grades import (
    SCHEMA,
    Header,
    graders,
    grades_of,
    grades_path,
    read_grades,
    write_grades,
)
from benchmark.scoring.measure import check_counts
from benchmark.store import Sample, Store, Unit, open_store
from benchmark.suite import Suite
from benchmark.texts.generate import check_alike
from benchmark.texts.units import WantedUnit, wanted_units
from tasks.catalog import find_task, load_problems
from tasks.errors import InfrastructureError, UserError
from tasks.files import in_turn, sweep
from tasks.grading import GRADER_VERSION, Asked, check_error_rate, grade_all
from tasks.sampled import vote
from tasks.schema import AnswerKind, Grade, Status

BATCH = 20_000
"""Texts that are graded together."""
FAILURES = ("item", "status", "detail")
"""The columns of grades that tell what the grader failed on."""
Report = Callable[[int, int, int], None]
"""Called with units done, units in all, and texts graded now."""
Line = dict[str, Any]
"""One sample's grade: a value for every column of `benchmark.scoring.grades.SCHEMA`."""


def score(
    suite: Suite, runs: Sequence[TrainedRun], out: Path, engine: str, report: Report | None = None
) -> int:
    """Grade every stored text of the suite that this version of the grader has not seen.

    Returns:
        How many texts were graded now.

    Raises:
        UserError: texts are missing or damaged. What is there has been graded then.
        InfrastructureError: the grader failed on more than 0.5 % of the texts; `score` tries those again.
    """
    units, store = wanted_units(suite, runs, engine), open_store(out)
    graded = grade_units(out, store, units, report, again=_fails(units, out))
    if conflicts := check_grades(suite, units, out):
        tell(
            f"{conflicts} samples have two different texts in the store: the one that was graded first "
            "counts, and `n_conflicts` of the rows says how many there are"
        )
    return graded


def grade_units(
    out: Path, store: Store, units: Sequence[WantedUnit], report: Report | None = None, *, again: bool = False
) -> int:
    """Grade the texts of some units, as far as there are any; returns how many were graded now.

    Of two processes at work on a folder one waits, and then finds the grades of the other.

    Args:
        out: the suite's folder.
        store: its texts.
        units: whose texts.
        report: is told of progress.
        again: also grade what the grader failed on before.
    """
    graded, held = 0, set(store.keys())
    folder = grades_path(out, "").parent
    waiting: list[_Unit] = []
    with in_turn(folder / ".lock"):
        sweep(folder)
        for number, unit in enumerate(units, start=1):
            if unit.key in held:
                waiting.append(_opened(out, store, unit, again=again))
            if number == len(units) or sum(len(one.todo) for one in waiting) >= BATCH:
                graded += _grade(waiting)
                waiting = []
                if report:
                    report(number, len(units), graded)
    return graded


@dataclass(kw_only=True)
class _Unit:
    """A unit whose texts have been read, and what is known about them."""

    path: Path
    header: Header
    kind: AnswerKind
    golds: dict[str, str]
    keep: set[tuple[str, int]]
    """Item and index of every sample whose grade is of the text as it is."""
    todo: list[Sample]
    stale: bool
    """The file of grades is not there, or says something that is not so any longer."""


def _opened(out: Path, store: Store, unit: WantedUnit, *, again: bool) -> _Unit:
    kind, stored = find_task(unit.task).answer, store.read(unit.key)
    golds = {problem.id: problem.gold for problem in load_problems(unit.task, unit.split)}
    check_alike(stored.effective, str(unit))
    if foreign := [sample.item for sample in stored.samples if sample.item not in golds]:
        raise UserError(
            f"{unit}: a text for {foreign[0]!r}, which is none of its {len(golds)} items; set it aside with "
            f"`python -m benchmark store repair --out {out}`"
        )
    samples = standing(out, stored)
    header = Header(
        request=stored.request,
        effective=stored.effective,
        grader=GRADER_VERSION,
        kind=kind,
        conflicts=stored.conflicts,
    )
    path = grades_path(out, unit.key)
    old, held = _held(path, kind, again=again)
    todo = [one for one in samples if held.get((one.item, one.index)) != text_hash(one)]
    stale = old != header or bool(todo) or len(held) != len(samples)
    keep = {(one.item, one.index) for one in samples} - {(one.item, one.index) for one in todo}
    return _Unit(path=path, header=header, kind=kind, golds=golds, keep=keep, todo=todo, stale=stale)


def standing(out: Path, unit: Unit) -> list[Sample]:
    """Return the samples of a unit that count, sorted by item and index.

    Of two texts of one sample the one that was graded stays, whatever is generated later, so that no number
    changes that was published; the newest grader has the last word. Else it is the smaller line.
    """
    if not unit.others:
        return unit.samples
    graded: dict[tuple[str, int], str] = {}
    for version in graders(out):
        columns = grades_of(out, unit.key, ("item", "index", "text_hash"), version)[1].to_pydict()
        places = zip(columns["item"], columns["index"], strict=True)
        graded |= dict(zip(places, columns["text_hash"], strict=True))

    def chosen(sample: Sample) -> Sample:
        place = (sample.item, sample.index)
        texts = (sample, *unit.others.get(place, ()))
        return next((text for text in texts if text_hash(text) == graded.get(place)), sample)

    return [chosen(sample) for sample in unit.samples]


def _held(path: Path, kind: AnswerKind, *, again: bool) -> tuple[Header | None, dict[tuple[str, int], str]]:
    """Return a file's header and, for each grade of it that may stay, the hash of its text."""
    if not path.exists():
        return None, {}
    header, table = read_grades(path, ("item", "index", "status", "text_hash"))
    if header.kind != kind:
        return None, {}
    columns = [table[name].to_pylist() for name in ("item", "index", "status", "text_hash")]
    return header, {
        (item, index): digest
        for item, index, status, digest in zip(*columns, strict=True)
        if not (again and status == Status.ERROR)
    }


def _grade(units: Iterable[_Unit]) -> int:
    """Grade what is to do in several units and write the files that change."""
    stale = [unit for unit in units if unit.stale]
    asked = [
        Asked(sample.text, unit.golds[sample.item], sample.finish, unit.kind)
        for unit in stale
        for sample in unit.todo
    ]
    grades = iter(grade_all(asked))
    for unit in stale:
        lines = [*_kept(unit), *(_line(sample, next(grades), unit.kind) for sample in unit.todo)]
        columns = {column.name: [line[column.name] for line in lines] for column in SCHEMA}
        write_grades(unit.path, unit.header, columns)
    return len(asked)


def _kept(unit: _Unit) -> list[Line]:
    if not unit.keep:
        return []
    lines = read_grades(unit.path)[1].to_pylist()
    return [line for line in lines if (line["item"], line["index"]) in unit.keep]


def _line(sample: Sample, grade: Grade, kind: AnswerKind) -> Line:
    return {
        "item": sample.item,
        "index": sample.index,
        "status": str(grade.status),
        "score": None if grade.score is None else int(grade.score),
        "found": grade.found,
        "vote": _storable(vote(grade, kind)),
        "tokens": sample.tokens,
        "finish": str(sample.finish),
        "text_hash": text_hash(sample),
        "detail": _storable(grade.detail) if grade.score is None else None,
    }


def _storable(text: str) -> str:
    """Return a text that UTF-8 can hold, whatever a model has written."""
    return text.encode(errors="backslashreplace").decode()


def text_hash(sample: Sample) -> str:
    """Return the hash of what the grader sees of a sample."""
    seen = f"{sample.finish}\0{sample.text}".encode(errors="surrogatepass")
    return hashlib.blake2b(seen, digest_size=8).hexdigest()


def check_grades(suite: Suite, units: Sequence[WantedUnit], out: Path) -> int:
    """Refuse grades that are not complete, or with too many errors of the grader among them.

    Returns:
        Samples of which there are two different texts.

    Raises:
        UserError: names a unit, what is missing of it, and the commands that make it.
        InfrastructureError: the grader failed on more than 0.5 % of the texts.
    """
    failures, conflicts, items_of = Failures(), 0, cache(load_problems)  # a split is read once
    for unit in units:
        header, table = grades_of(out, unit.key, ("index", *FAILURES))
        count = suite.decoding(unit.task).samples
        check_counts(table, items_of(unit.task, unit.split), count, str(unit))
        failures.add(table)
        conflicts += header.conflicts if header else 0
    failures.check()
    return conflicts


class Failures:
    """What the grader failed on, over the grades of a suite."""

    def __init__(self) -> None:
        """Start with nothing graded."""
        self.errors: list[Grade] = []
        self.graded = 0

    def add(self, table: pa.Table) -> None:
        """Look through grades; the columns are `FAILURES`."""
        failed = table.filter(pc.equal(table["status"].cast(pa.string()), str(Status.ERROR)))
        self.errors += [
            Grade(status=Status.ERROR, answer=line["item"], detail=line["detail"])
            for line in failed.to_pylist()
        ]
        self.graded += len(table)

    def check(self) -> None:
        """Refuse more than 0.5 %; raises as `tasks.grading.check_error_rate`."""
        check_error_rate(self.errors, graded_before=self.graded - len(self.errors))


def _fails(units: Sequence[WantedUnit], out: Path) -> bool:
    """Say whether the grades that are there hold too many errors; then they are tried again."""
    failures = Failures()
    for unit in units:
        failures.add(grades_of(out, unit.key, FAILURES)[1])
    try:
        failures.check()
    except InfrastructureError:
        return True
    return False
