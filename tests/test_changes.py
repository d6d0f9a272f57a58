"""A new version of the grader: everything is graded again, and what changed is said number by number."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

import benchmark.scoring.score
from benchmark.jobs.run import Work
from benchmark.jobs.run import _score as finish
from benchmark.jobs.runs import read_runs
from benchmark.report import collect, write_results
from benchmark.rows import to_frame
from benchmark.scoring import changes
from benchmark.scoring.aggregate import aggregate
from benchmark.scoring.changes import grader_changes
from benchmark.scoring.grades import graders, grades_path
from benchmark.scoring.items import item_scores
from benchmark.scoring.score import score
from tasks.grading import Asked, grade_all
from tasks.schema import Grade, Status
from tests.toy import ENGINE, RIGHT, SIZE, all_rows, find_unit, make_suite, write_suite

CHANGED = {
    *("arms_by_task_auc", "arms_by_task_peak", "task_sums1", "peaks", "robust", "stability", "counts"),
    "arms_seconds",
}
"""The tables that change where every unit gets three more right answers; differences of arms do not."""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a suite whose texts the version "1" of the grader has graded."""
    write_suite(tmp_path)
    score(make_suite(), read_runs(make_suite(), tmp_path), tmp_path, ENGINE)
    (tmp_path / "grades" / "2").rename(tmp_path / "grades" / "1")
    return tmp_path


def said(out: Path) -> str:
    runs = read_runs(make_suite(), out)
    score(make_suite(), runs, out, ENGINE)
    return grader_changes(make_suite(), runs, out, ENGINE)


def report_tables(out: Path) -> list[str]:
    """Return the names of all tables that `aggregate` and the report write."""
    suite = make_suite()
    rows = aggregate(suite, read_runs(suite, out), out, ENGINE)
    results = collect(
        to_frame(rows),
        baseline=suite.baseline,
        kind=suite.kind,
        metric="accuracy",
        endpoints=suite.endpoints,
        scores=item_scores(out, suite),
    )
    write_results(results, out, title="", origin={})
    return [path.stem for path in (out / "tables").glob("*.csv")]


def accept(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    """Let the grader call every text right that holds `wanted`."""

    def graded(asked: Sequence[Asked]) -> list[Grade]:
        return [
            Grade(status=Status.CORRECT, answer=wanted) if wanted in one.text else grade
            for one, grade in zip(asked, grade_all(asked), strict=True)
        ]

    monkeypatch.setattr(benchmark.scoring.score, "grade_all", graded)


def test_a_new_version_grades_everything_and_keeps_the_old_grades(out: Path) -> None:
    old = {path.name: path.read_bytes() for path in (out / "grades" / "1").glob("*.parquet")}
    text = said(out)
    assert text == "grader 2 against 1: no number of any table changed, and no verdict"
    assert graders(out) == ["1", "2"]
    assert {path.name: path.read_bytes() for path in (out / "grades" / "1").glob("*.parquet")} == old
    assert {path.name for path in (out / "grades" / "2").glob("*.parquet")} == set(old)


def test_every_changed_number_stands_with_its_old_and_new_value(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(monkeypatch, "no idea")  # three texts of every unit that were unparsed
    text = said(out)
    lines = text.splitlines()
    assert re.fullmatch(
        rf"grader 2 against 1: \d+ of \d+ cells in 8 of \d+ tables changed, and {6 * len(RIGHT)} verdicts",
        lines[0],
    )
    flat = [" ".join(line.split()) for line in lines]
    base = 100 * (RIGHT["base", None, 0] + 1) / SIZE["test"]
    assert f"grpo base {base:.1f} % {base + 3.75:.1f} %" in flat
    assert any(line.startswith("sums1 grpo area over seconds") for line in flat)
    for table in report_tables(out):
        assert (f"\n\n{table}: " in text) == (table in CHANGED), table
    assert "task_sums1: 12 cells changed" in text
    assert text.count("\ngrpo  ") + text.count("\nlambda_grpo  ") >= changes.CELLS
    assert "... and 7 more" in text
    assert "54 from unparsed to correct" in text
    assert text.count(" sample 0: unparsed to correct") == changes.SHOWN
    assert lines[-1] == f"  ... and {54 - changes.SHOWN} more"


def test_a_verdict_may_change_and_no_number(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def graded(asked: Sequence[Asked]) -> list[Grade]:
        return [
            Grade(status=Status.WRONG, answer="?") if one.status is Status.UNPARSED else one
            for one in grade_all(asked)
        ]

    monkeypatch.setattr(benchmark.scoring.score, "grade_all", graded)
    text = said(out)
    assert text.startswith("grader 2 against 1: ")
    assert " 1 of " in text.splitlines()[0]
    assert "in 1 of" in text.splitlines()[0]
    assert "\n\ncounts: " in text
    assert "\n\n54 from unparsed to wrong" in text


def test_without_earlier_grades_there_is_nothing_to_compare(tmp_path: Path) -> None:
    write_suite(tmp_path)
    assert said(tmp_path) == "grader 2: there are no grades of an earlier one to compare with"


def test_old_grades_that_do_not_cover_the_suite_are_not_compared(out: Path) -> None:
    grades_path(out, find_unit(make_suite(), out, ("grpo", 0, 2)).key, "1").unlink()
    text = said(out)
    assert text.startswith("grader 2 against 1: not compared (")
    assert "grpo/seed_0/checkpoints/step_000002, sums1 test: 80 of 80" in text


def test_a_run_says_it_too(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accept(monkeypatch, "no idea")
    suite, runs = make_suite(), read_runs(make_suite(), out)
    work = Work(suite=suite, words=[], out=out, engine=ENGINE, jobs=1)
    finish(work, runs, [])
    assert "grader 2 against 1: " in capsys.readouterr().out
    shutil.rmtree(out / "grades" / "1")
    finish(work, runs, [])
    assert "against" not in capsys.readouterr().out


def test_rows_of_a_new_version_follow_its_grades(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(monkeypatch, "no idea")
    rows = {(row.arm, row.seed, row.step, row.split): row.value for row in all_rows(make_suite(), out)}
    assert rows["grpo", 1, 4, "test"] == 4 / 80
    score(make_suite(), read_runs(make_suite(), out), out, ENGINE)
    again = aggregate(make_suite(), read_runs(make_suite(), out), out, ENGINE)
    assert {(row.arm, row.seed, row.step, row.split): row.value for row in again} == rows
