"""Scores item by item: the same numbers as the rows, read back from the grades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import benchmark.scoring.score
from benchmark.scoring.grades import grades_path
from benchmark.scoring.items import COLUMNS, item_scores
from tasks.catalog import load_problems
from tasks.errors import UserError
from tasks.grading import Asked, grade_all
from tasks.schema import Grade, Problem, Split, Status
from tests.toy import RIGHT, SIZE, all_rows, by_place, find_unit, make_suite, write_suite, write_texts


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_suite(tmp_path)


def test_items_average_to_the_rows(out: Path) -> None:
    suite = make_suite(samples=4, temperature=0.5)
    write_texts(suite, out, RIGHT)
    rows = by_place(all_rows(suite, out))
    frame = item_scores(out, suite)
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == len(RIGHT) * sum(SIZE.values())
    assert str(frame["seed"].dtype) == "Int64"
    for (arm, step, split), group in frame.groupby(["arm", "step", "split"]):
        for seed in group["seed"].unique():
            own = group[group["seed"].isna()] if pd.isna(seed) else group[group["seed"] == seed]
            row = rows[arm, None if pd.isna(seed) else int(seed), step, split]
            assert own["mean"].mean() == row.value
            assert own["item"].tolist() == [one.id for one in load_problems("sums1", split)]
            assert set(own["n"]) == {4}
    assert frame[frame["arm"] == "base"]["seed"].isna().all()
    assert (frame["cluster"] == frame["item"]).all()
    assert set(frame["task"]) == {"sums1"}


def test_rows_of_other_suites_are_not_read(out: Path) -> None:
    all_rows(make_suite(), out)
    all_rows(make_suite(kind="smoke"), out)
    assert len(item_scores(out, make_suite())) == len(RIGHT) * sum(SIZE.values())
    assert item_scores(out, make_suite(name="other")).empty
    assert tuple(item_scores(out, make_suite(name="other")).columns) == COLUMNS


def test_an_item_that_could_not_be_graded_has_no_mean(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def graded(asked: Sequence[Asked]) -> list[Grade]:
        bad = Grade(status=Status.BAD_GOLD, answer=None, detail="?")
        return [
            bad if one.gold == asked[0].gold else grade
            for one, grade in zip(asked, grade_all(asked), strict=True)
        ]

    monkeypatch.setattr(benchmark.scoring.score, "grade_all", graded)
    all_rows(make_suite(), out)
    frame = item_scores(out, make_suite())
    assert (frame["mean"].isna() == (frame["n"] == 0)).all()
    assert frame["mean"].isna().any()
    assert not frame["mean"].isna().all()


def test_items_of_a_template_share_their_cluster(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def clustered(task: str, split: Split) -> list[Problem]:
        problems = load_problems(task, split)
        return [replace(one, cluster="odd" if at % 2 else "") for at, one in enumerate(problems)]

    all_rows(make_suite(), out)
    monkeypatch.setattr("benchmark.scoring.items.load_problems", clustered)
    frame = item_scores(out, make_suite())
    odd = np.arange(len(frame)) % 2 == 1  # splits have even sizes
    assert (frame["cluster"] == np.where(odd, "odd", frame["item"])).all()


def test_missing_grades_and_rows_say_what_to_run(out: Path) -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl: no results there; run"):
        item_scores(out, make_suite())
    all_rows(make_suite(), out)
    grades_path(out, find_unit(make_suite(), out, ("grpo", 0, 2)).key).unlink()
    with pytest.raises(UserError, match="no grades there; run `python -m benchmark score SUITE`"):
        item_scores(out, make_suite())
