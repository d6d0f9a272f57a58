"""Suites with published test sets: on the machine, missing, and without a validation split of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.analysis import curves
from benchmark.analysis.curves import learning_curves
from benchmark.report import write_report
from benchmark.rows import read_rows, to_frame
from benchmark.texts.generate import check_sets, measurable
from tasks.errors import UserError
from tests.published import fetch_fixture
from tests.toy import ENGINE, RIGHT, all_rows, make_suite, write_run, write_texts

BOTH = ["sums1", "aime24"]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_GRPO_BENCH_DATA", str(tmp_path / "data"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for arm in ("grpo", "lambda_grpo"):
        for seed in (0, 1):
            write_run(tmp_path / "out", arm, seed)
    write_texts(make_suite(), tmp_path / "out", RIGHT)
    return tmp_path / "out"


def test_a_missing_set_stops_a_suite_or_is_left_out_on_request() -> None:
    suite = make_suite(tasks=BOTH)
    with pytest.raises(
        UserError, match=r"'aime24' is not on this machine; run .*; or go on without, with --"
    ):
        check_sets(suite, allow_missing=False)
    check_sets(suite, allow_missing=True)
    assert measurable(suite) == [("sums1", "validation"), ("sums1", "test")]
    fetch_fixture("aime24")
    check_sets(suite, allow_missing=False)
    assert ("aime24", "test") in measurable(suite)


def test_too_little_without_a_set_is_said_before_anything_is_trained() -> None:
    suite = make_suite(tasks=["aime24", "openrs"])
    fetch_fixture("openrs")
    with pytest.raises(UserError, match="without aime24 the suite has no test split to score; fetch one"):
        check_sets(suite, allow_missing=True)


@pytest.mark.parametrize(
    ("tasks", "rule"), [(["aime24"], "no validation split to choose"), (["openrs"], "no test split to score")]
)
def test_a_suite_wants_something_to_choose_on_and_something_to_score(tasks: list[str], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        make_suite(tasks=tasks)


def test_a_suite_names_groups() -> None:
    assert make_suite(tasks=["add2", "reasoning"]).tasks == ["add2", "gpqa_diamond", "bbh", "musr"]


def test_rows_of_a_missing_set_are_null_and_say_why(out: Path) -> None:
    suite = make_suite(tasks=BOTH)
    rows = all_rows(suite, out)
    missing = [row for row in rows if row.task == "aime24"]
    assert {row.metric for row in missing} >= {"accuracy", "pass@32", "maj@32"}
    assert {(row.value, row.n_items, row.split) for row in missing} == {(None, 0, "test")}
    assert all("tasks fetch aime24" in row.missing for row in missing)
    frame = to_frame(read_rows(out / "rows.jsonl"))
    assert set(learning_curves(frame)["task"]) == {"sums1"}
    text = write_report(frame, out, title="t", command="c", engine=ENGINE)
    assert "aime24" not in text
    assert "## Not measured\n\n| task | why |\n| --- | --- |\n| aime24 | " in (out / "report.md").read_text()


def test_what_was_measured_is_not_lost_with_its_set(out: Path) -> None:
    suite = make_suite(tasks=BOTH)
    first = all_rows(suite, out)
    measured = next(row for row in first if row.task == "aime24")
    kept = measured.model_copy(update={"value": 0.5, "missing": "", "n_items": 30})
    with (out / "rows.jsonl").open("a") as file:
        file.write(kept.model_dump_json() + "\n")
    again = all_rows(suite, out)
    assert [row.value for row in again if row.task == "aime24"].count(0.5) == 1
    found = to_frame(read_rows(out / "rows.jsonl"))
    assert (found[found["task"] == "aime24"]["value"] == 0.5).sum() == 1


def test_a_test_set_borrows_the_validation_of_the_others(make_rows, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(np.random.default_rng(1), seeds=[4, 7])
    third = [row.model_copy(update={"task": "extra"}) for row in rows if row.task == "sums"]
    only_test = [row for row in [*rows, *third] if (row.task, row.split) != ("extra", "validation")]
    monkeypatch.setattr(curves, "is_test_set", lambda task: task == "extra")
    found = learning_curves(to_frame(only_test)).set_index(["task", "arm", "seed", "step"])
    for (task, *place), one in found.iterrows():
        if task == "extra":
            others = [found.loc[(name, *place)]["validation"] for name in ("sums", "words")]
            assert one["validation"] == pytest.approx(np.mean(others))
            assert one["test"] == found.loc[("sums", *place)]["test"]
    alone = [row for row in only_test if row.task == "extra"]
    with pytest.raises(UserError, match="task 'extra': no task has validation rows"):
        learning_curves(to_frame(alone))
