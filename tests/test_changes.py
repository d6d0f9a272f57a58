"""A new version of the grader: everything is graded again, and what changed is said number by number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import benchmark.score
from benchmark import changes
from benchmark.aggregate import aggregate
from benchmark.changes import grader_changes
from benchmark.grades import graders, grades_path
from benchmark.runs import read_runs
from benchmark.score import score
from tasks.grading import Asked, grade_all
from tasks.schema import Grade, Status
from tests.toy import ENGINE, RIGHT, SIZE, all_rows, find_unit, make_suite, write_suite


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


def accept(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    """Let the grader call every text right that holds `wanted`."""

    def graded(asked: Sequence[Asked]) -> list[Grade]:
        return [
            Grade(status=Status.CORRECT, answer=wanted) if wanted in one.text else grade
            for one, grade in zip(asked, grade_all(asked), strict=True)
        ]

    monkeypatch.setattr(benchmark.score, "grade_all", graded)


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
    assert lines[0] == f"grader 2 against 1: 12 of 12 numbers and {2 * 3 * len(RIGHT)} verdicts changed"
    cells = {tuple(line.split("  ")[0:1]) + tuple(line.split()) for line in lines}
    flat = [" ".join(line[1:]) for line in cells]
    base = (RIGHT["base", None, 0] + 1) / SIZE["test"]
    assert f"sums1 test base accuracy mean of all checkpoints {base:.4f} {base + 3 / 80:.4f} +0.0375" in flat
    final = sum(RIGHT["grpo", seed, 4] + 1 for seed in (0, 1)) / 2 / SIZE["test"]
    assert f"sums1 test grpo accuracy final {final:.4f} {final + 3 / 80:.4f} +0.0375" in flat
    assert any(one.startswith("sums1 validation lambda_grpo accuracy mean of all") for one in flat)
    assert "54 from unparsed to correct" in text
    assert text.count(" sample 0: unparsed to correct") == changes.SHOWN
    assert lines[-1] == f"  ... and {54 - changes.SHOWN} more"


def test_a_verdict_may_change_and_no_number(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def graded(asked: Sequence[Asked]) -> list[Grade]:
        return [
            Grade(status=Status.WRONG, answer="?") if one.status is Status.UNPARSED else one
            for one in grade_all(asked)
        ]

    monkeypatch.setattr(benchmark.score, "grade_all", graded)
    text = said(out)
    assert text.startswith(
        "grader 2 against 1: 0 of 12 numbers and 54 verdicts changed\n\n54 from unparsed to wrong"
    )


def test_without_earlier_grades_there_is_nothing_to_compare(tmp_path: Path) -> None:
    write_suite(tmp_path)
    assert said(tmp_path) == "grader 2: there are no grades of an earlier one to compare with"


def test_old_grades_that_do_not_cover_the_suite_are_not_compared(out: Path) -> None:
    grades_path(out, find_unit(make_suite(), out, ("grpo", 0, 2)).key, "1").unlink()
    text = said(out)
    assert text.startswith("grader 2 against 1: not compared, since not every text has an old grade (")
    assert "grpo/seed_0/checkpoints/step_000002, sums1 test: 80 of 80" in text


def test_rows_of_a_new_version_follow_its_grades(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(monkeypatch, "no idea")
    rows = {(row.arm, row.seed, row.step, row.split): row.value for row in all_rows(make_suite(), out)}
    assert rows["grpo", 1, 4, "test"] == 4 / 80
    score(make_suite(), read_runs(make_suite(), out), out, ENGINE)
    again = aggregate(make_suite(), read_runs(make_suite(), out), out, ENGINE)
    assert {(row.arm, row.seed, row.step, row.split): row.value for row in again} == rows
