"""A unit's grades to numbers: all items at once give, to the bit, what each gives alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmark.scoring.grades import SCHEMA, Header, read_grades, write_grades
from benchmark.scoring.measure import READ, arrange, item_clusters, item_metrics, measure
from benchmark.stats import item_standard_error
from tasks.errors import UserError
from tasks.sampled import metric_names, sample_metrics, vote
from tasks.schema import AnswerKind, Grade, Problem, Status

HEADER = Header(request={}, effective=[], grader="2", kind="math")
ANSWERS = ["3", "3.0", "x+1", "1+x", "4", "5", ""]


def problems(count: int, clusters: int = 0) -> list[Problem]:
    """Return problems whose order is not that of their names."""
    return [
        Problem(
            id=f"t/{(7 * at) % count:03d}",
            question="?",
            gold="7",
            cluster=f"c{at % clusters}" if clusters else "",
        )
        for at in range(count)
    ]


def stored(path: Path, graded: dict[tuple[str, int], Grade], kind: AnswerKind = "math") -> pa.Table:
    """Write grades by (item, index) and read them again."""
    rows = [
        {
            "item": item,
            "index": index,
            "status": str(one.status),
            "score": None if one.score is None else int(one.score),
            "found": one.found,
            "vote": vote(one, kind),
            "tokens": index,
            "finish": "stop",
            "text_hash": "0",
            "detail": one.detail,
        }
        for (item, index), one in graded.items()
    ]
    write_grades(path, HEADER, {name: [row[name] for row in rows] for name in SCHEMA.names})
    return read_grades(path, READ)[1]


def random_grade(rng: np.random.Generator, right: float) -> Grade:
    if rng.random() < right:
        return Grade(status=Status.CORRECT, answer="7", found="box")
    status = rng.choice(list(Status), p=[0, 0.6, 0.1, 0.1, 0.1, 0.1])
    return Grade(status=status, answer=str(rng.choice(ANSWERS)), found=rng.choice(["box", "loose", "stated"]))


@pytest.mark.parametrize(("count", "seed"), [(n, seed) for n in (1, 2, 3, 5, 8, 16, 24) for seed in (0, 1)])
def test_all_items_at_once_are_each_item_alone(tmp_path: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked = problems(40, clusters=9)
    chance = rng.beta(0.5, 0.5, len(asked))
    graded = {
        (one.id, index): random_grade(rng, chance[at])
        for at, one in enumerate(asked)
        for index in range(count)
    }
    samples = arrange(stored(tmp_path / "x.parquet", graded), asked, count, "x")
    want = [sample_metrics([graded[one.id, index] for index in range(count)], count) for one in asked]
    found = item_metrics(samples)
    assert list(found) == metric_names(count)
    for name, value_i in found.items():
        assert [None if np.isnan(value) else value for value in value_i] == [one[name] for one in want]
    statuses = [one.status for one in graded.values()]
    for row in measure(samples, item_clusters(asked)):
        known = [at for at, one in enumerate(want) if one[str(row["metric"])] is not None]
        values = [want[at][str(row["metric"])] for at in known]
        assert (row["n_items"], row["n_asked"]) == (len(known), len(asked))
        assert row["value"] == (np.mean(values) if values else None)
        assert row["stderr"] == item_standard_error(values, [asked[at].cluster for at in known])
        assert row["n_unparsed"] == statuses.count(Status.UNPARSED)
        assert row["n_truncated"] == statuses.count(Status.TRUNCATED)
        assert row["n_ungraded"] == statuses.count(Status.BAD_GOLD) + statuses.count(Status.ERROR)
        assert row["n_loose"] == sum(one.found == "loose" for one in graded.values())
        assert row["mean_tokens"] == (count - 1) / 2


def grades_of(said: Sequence[str | None]) -> dict[tuple[str, int], Grade]:
    return {
        ("t/000", index): Grade(status=Status.CORRECT if one == "7" else Status.WRONG, answer=one)
        for index, one in enumerate(said)
    }


def test_the_order_of_the_lines_and_samples_beyond_those_asked_change_nothing(tmp_path: Path) -> None:
    said = {"t/000": "733777", "t/001": "377333"}
    graded = {
        (item, index): Grade(status=Status.CORRECT if one == "7" else Status.WRONG, answer=one)
        for item, answers in said.items()
        for index, one in enumerate(answers)
    }
    table = stored(tmp_path / "x.parquet", graded)
    shuffled = table.take(pa.array([5, 2, 0, 4, 1, 3, 11, 7, 6, 9, 8, 10]))
    want = [sample_metrics([graded[one.id, at] for at in range(4)], 4) for one in problems(2)]
    for one in (table, shuffled, pa.concat_tables([shuffled.slice(0, 2), shuffled.slice(2)])):
        metrics = item_metrics(arrange(one, problems(2), 4, "x"))
        for at, alone in enumerate(want):
            assert {name: float(values[at]) for name, values in metrics.items()} == alone


def test_wrong_choices_vote_as_letters(tmp_path: Path) -> None:
    graded = {
        ("t/000", at): Grade(status=Status.WRONG, answer=one) for at, one in enumerate(["A", "(A)", "A. dog"])
    }
    graded["t/000", 3] = Grade(status=Status.CORRECT, answer="C")
    table = stored(tmp_path / "x.parquet", graded, "choice")
    assert item_metrics(arrange(table, problems(1), 4, "x"))["maj@4"].tolist() == [0.0]


def test_an_item_without_a_verdict_has_no_value(tmp_path: Path) -> None:
    graded = {("t/000", at): Grade(status=Status.ERROR, answer=None, detail="time") for at in range(2)}
    rows = measure(arrange(stored(tmp_path / "x.parquet", graded), problems(1), 2, "x"), None)
    assert [(row["value"], row["stderr"], row["n_items"]) for row in rows] == [(None, None, 0)] * 3
    assert {row["n_asked"] for row in rows} == {1}


@pytest.mark.parametrize(
    ("said", "count", "message"),
    [
        (
            ["7", "3", "3"],
            4,
            "the unit: 1 of 1 items x 4 samples have no grade, the first of them sample 3 of t/000",
        ),
        (
            [],
            2,
            "2 of 1 items x 2 samples have no grade, .*; run `python -m benchmark generate SUITE`, then `sc",
        ),
    ],
)
def test_missing_is_not_wrong(tmp_path: Path, said: list[str], count: int, message: str) -> None:
    table = stored(tmp_path / "x.parquet", grades_of(said))
    with pytest.raises(UserError, match=message):
        arrange(table, problems(1), count, "the unit")


def test_two_grades_of_one_sample_and_grades_of_other_items_are_refused(tmp_path: Path) -> None:
    table = stored(tmp_path / "x.parquet", grades_of(["7", "3"]))
    with pytest.raises(
        UserError, match=r"1 of 1 items x 2 samples do not have one grade each, .* sample 1 of t/000"
    ):
        arrange(pa.concat_tables([table, table.slice(1)]), problems(1), 2, "x")
    with pytest.raises(UserError, match="grades of 't/000', which is none of its 0 items"):
        arrange(table, [], 2, "x")
