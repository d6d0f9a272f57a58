"""Stored texts to grades: each text once by each version of the grader, whatever happened before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import benchmark.scoring.grades
import benchmark.scoring.score
from benchmark.jobs.runs import read_runs
from benchmark.rows import read_rows
from benchmark.scoring.grades import grades_path, read_grades
from benchmark.scoring.score import score, text_hash
from benchmark.store import open_store
from benchmark.store.upkeep import repair
from tasks.catalog import find_task, load_problems
from tasks.engines import Finish
from tasks.errors import InfrastructureError, UserError
from tasks.grading import Asked, grade_all
from tasks.schema import Grade, Status
from tests.toy import (
    EFFECTIVE,
    ENGINE,
    RIGHT,
    SIZE,
    all_rows,
    by_place,
    find_unit,
    make_suite,
    texts,
    write_run,
    write_suite,
    write_texts,
)

TEXTS = len(RIGHT) * sum(SIZE.values())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_suite(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of texts of every call of the grader."""
    sizes: list[int] = []

    def counted(texts: Sequence[Asked]) -> list[Grade]:
        sizes.append(len(texts))
        return grade_all(texts)

    monkeypatch.setattr(benchmark.scoring.score, "grade_all", counted)
    return sizes


def run_score(out: Path, **changes: object) -> int:
    suite = make_suite(**changes)
    return score(suite, read_runs(suite, out), out, ENGINE)


def held(out: Path) -> dict[str, bytes]:
    return {str(one.relative_to(out)): one.read_bytes() for one in (out / "grades").rglob("*.parquet")}


def test_every_text_is_graded_once(out: Path, asked: list[int]) -> None:
    assert run_score(out) == TEXTS
    before = held(out)
    assert len(before) == 2 * len(RIGHT)
    assert run_score(out) == 0
    assert sum(asked) == TEXTS
    assert held(out) == before


def test_a_line_says_what_the_grader_said(out: Path) -> None:
    run_score(out)
    header, table = read_grades(grades_path(out, find_unit(make_suite(), out, ("grpo", 1, 4)).key))
    lines = {(line["item"], line["index"]): line for line in table.to_pylist()}
    samples = texts(make_suite(), "test", 0)
    assert lines.keys() == {(one.item, one.index) for one in samples}
    for sample, status, found in zip(
        samples[:6],
        ["correct"] + ["unparsed"] * 3 + ["truncated"] * 2,
        ["stated", *[None] * 3, *["loose"] * 2],
        strict=True,
    ):
        line = lines[sample.item, sample.index]
        assert (line["status"], line["found"], line["tokens"]) == (status, found, sample.tokens)
        assert line["score"] == (status == "correct")
        assert line["finish"] == str(sample.finish)
    assert [lines[one.item, 0]["vote"] for one in samples[:7]] == ["\0right", *[""] * 5, "77"]
    assert header.effective == [EFFECTIVE]
    assert header.request["task"] == "sums1"


def test_a_text_that_was_cut_off_is_another_text() -> None:
    sample = texts(make_suite(), "test", 0)[0]
    assert text_hash(sample) == text_hash(replace(sample, tokens=9, seed=1))
    assert text_hash(sample) != text_hash(replace(sample, finish=Finish.LENGTH))
    assert text_hash(sample) != text_hash(replace(sample, text="\ud800"))  # no UTF-8, and no crash


def test_more_samples_are_graded_alone(out: Path, asked: list[int]) -> None:
    write_texts(make_suite(samples=2, temperature=0.5), out, RIGHT)
    run_score(out, samples=2, temperature=0.5)
    asked.clear()
    write_texts(make_suite(samples=4, temperature=0.5), out, RIGHT)
    assert run_score(out, samples=4, temperature=0.5) == 2 * TEXTS
    whole = held(out)
    for path in (out / "grades").rglob("*.parquet"):
        path.unlink()
    run_score(out, samples=4, temperature=0.5)
    assert held(out) == whole


def test_fewer_samples_are_aggregated_from_more(out: Path, tmp_path: Path) -> None:
    two, four = (make_suite(samples=count, temperature=0.5) for count in (2, 4))
    write_texts(four, out, RIGHT)
    found = all_rows(two, out)
    other = write_suite(tmp_path / "other")
    write_texts(two, other, RIGHT)
    times = {"scored_at", "wall_s"}
    assert [one.model_dump(exclude=times) for one in found] == [
        one.model_dump(exclude=times) for one in all_rows(two, other)
    ]


def test_a_text_that_was_generated_anew_is_graded_anew(out: Path, asked: list[int]) -> None:
    """The grades follow the texts, also where a sample went."""
    first = all_rows(make_suite(), out)
    (shard,) = (out / "samples").glob("*.jsonl")
    shard.unlink()
    write_texts(make_suite(), out, RIGHT | {("grpo", 1, 4): 1})
    asked.clear()
    before = (out / "rows.jsonl").read_bytes()
    again = all_rows(make_suite(), out)
    assert asked == [2 * 3]  # per split three texts differ, and no more
    assert (out / "rows.jsonl").read_bytes().startswith(before)
    changed = [(row.arm, row.seed, row.step) for row in read_rows(out / "rows.jsonl")[len(first) :]]
    assert changed == [("grpo", 1, 4)] * 2
    assert len(again) == len(first)


def test_a_text_that_went_takes_its_grade_along(out: Path, asked: list[int]) -> None:
    many, few = (make_suite(samples=count, temperature=0.5) for count in (2, 1))
    write_texts(many, out, RIGHT)
    all_rows(many, out)
    for shard in (out / "samples").glob("*.jsonl"):
        shard.unlink()
    write_texts(few, out, RIGHT)
    asked.clear()
    all_rows(few, out)
    assert sum(asked) == 0
    _, table = read_grades(grades_path(out, find_unit(few, out, ("grpo", 1, 4)).key))
    assert set(table["index"].to_pylist()) == {0}


def test_a_deleted_file_of_grades_comes_back_as_it_was(out: Path) -> None:
    run_score(out)
    before = held(out)
    path = grades_path(out, find_unit(make_suite(), out, ("grpo", 1, 4)).key)
    path.unlink()
    assert run_score(out) == SIZE["test"]
    assert held(out) == before


def test_a_damaged_file_of_grades_is_refused_by_name(out: Path) -> None:
    run_score(out)
    path = grades_path(out, find_unit(make_suite(), out, ("grpo", 1, 4)).key)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=f"{path.name}: damaged grades; delete the file"):
        run_score(out)


def test_missing_texts_are_not_wrong_answers(tmp_path: Path) -> None:
    for arm in ("grpo", "lambda_grpo"):
        for seed in (0, 1):
            write_run(tmp_path, arm, seed)
    write_texts(make_suite(), tmp_path, {place: right for place, right in RIGHT.items() if place[2] < 4})
    unit = find_unit(make_suite(), tmp_path, ("grpo", 0, 2))
    message = (
        r"grpo/seed_0/checkpoints/step_000004, sums1 validation: 40 of 40 items x 1 samples have no grade, "
    )
    with pytest.raises(UserError, match=message + ".*run `python -m benchmark generate SUITE`, then `score`"):
        all_rows(make_suite(), tmp_path)
    assert not (tmp_path / "rows.jsonl").exists()
    assert grades_path(tmp_path, unit.key).exists()  # what is there was graded


def test_one_missing_sample_is_named(tmp_path: Path) -> None:
    for arm in ("grpo", "lambda_grpo"):
        for seed in (0, 1):
            write_run(tmp_path, arm, seed)
    place = ("lambda_grpo", 1, 4)
    write_texts(make_suite(), tmp_path, {one: right for one, right in RIGHT.items() if one != place})
    with open_store(tmp_path).writer("w") as writer:
        for split in SIZE:
            whole = texts(make_suite(), split, 0)
            kept = [one for at, one in enumerate(whole) if (split, at) != ("test", 7)]
            writer.append(find_unit(make_suite(), tmp_path, place, split).request, EFFECTIVE, kept)
    with pytest.raises(
        UserError, match=r"1 of 80 items x 1 samples have no grade, .* sample 0 of sums1/test/0007"
    ):
        all_rows(make_suite(), tmp_path)
    assert not (tmp_path / "rows.jsonl").exists()


def test_texts_of_another_engine_are_missing(out: Path) -> None:
    with pytest.raises(UserError, match="sums1 validation: 40 of 40 items x 1 samples have no grade"):
        all_rows(make_suite(), out, "vllm")


def test_a_text_for_another_item_is_refused(out: Path) -> None:
    foreign = texts(make_suite(), "validation", 0)[:1]
    with open_store(out).writer("w") as writer:
        writer.append(find_unit(make_suite(), out, ("grpo", 0, 2)).request, EFFECTIVE, foreign)
    with pytest.raises(UserError, match="a text for 'sums1/validation/0000', which is none of its 80 items"):
        run_score(out)
    (problem,) = open_store(out).verify().problems
    assert "has a text for 'sums1/validation/0000', which is no item of its split" in problem
    (line,) = repair(out)  # what the message says
    assert line.endswith("aside, 0 sound blocks kept")
    run_score(out)
    assert open_store(out).verify().problems == []


def write_other_texts(out: Path, text: str) -> None:
    """Let a second worker answer the same, with other texts."""
    with open_store(out).writer("other") as writer:
        for split in SIZE:
            unit = find_unit(make_suite(), out, ("grpo", 0, 2), split)
            writer.append(
                unit.request, EFFECTIVE, [replace(one, text=text) for one in texts(make_suite(), split, 9)]
            )


@pytest.mark.parametrize("text", ["1", "zzz"])  # smaller and larger than "77" and "The answer is"
def test_a_text_that_was_graded_stays(
    out: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {(row.arm, row.seed, row.step, row.split): row.value for row in all_rows(make_suite(), out)}
    grades = held(out)
    capsys.readouterr()
    write_other_texts(out, text)
    rows = all_rows(make_suite(), out)
    assert {(row.arm, row.seed, row.step, row.split): row.value for row in rows} == before
    counted = {(row.arm, row.seed, row.step, row.split): row.n_conflicts for row in rows if row.n_conflicts}
    assert counted == {("grpo", 0, 2, split): size for split, size in SIZE.items()}
    assert "120 samples have two different texts in the store: the one that was" in capsys.readouterr().out
    assert len(grades.keys() & held(out).keys()) == len(held(out))
    (out / "grades" / "2").rename(out / "grades" / "1")  # a new version of the grader
    rows = all_rows(make_suite(), out)
    assert {(row.arm, row.seed, row.step, row.split): row.value for row in rows} == before


def test_of_two_texts_without_a_grade_the_smaller_counts_whoever_was_first(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        for arm in ("grpo", "lambda_grpo"):
            for seed in (0, 1):
                write_run(folder, arm, seed)
        steps = [partial(write_texts, make_suite(), folder, RIGHT), partial(write_other_texts, folder, "1")]
        for step in steps if name == "one" else steps[::-1]:
            step()
        rows = all_rows(make_suite(), folder)
        found.append([row.value for row in rows])
        ones = sum(problem.gold == "1" for problem in load_problems("sums1", "test"))
        assert by_place(rows)["grpo", 0, 2, "test"].value == ones / 80 < RIGHT["grpo", 0, 2] / 80
    assert found[0] == found[1]


def failing(monkeypatch: pytest.MonkeyPatch, errors: int) -> list[int]:
    """Let the grader fail on the first texts it is asked for; returns the sizes of its calls."""
    sizes: list[int] = []

    def graded(asked: Sequence[Asked]) -> list[Grade]:
        bad = 0 if sizes else errors
        sizes.append(len(asked))
        return [Grade(status=Status.ERROR, answer="9", detail="no verdict")] * bad + grade_all(asked[bad:])

    monkeypatch.setattr(benchmark.scoring.score, "grade_all", graded)
    return sizes


def test_too_many_errors_of_the_grader_end_the_scoring(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 1080 texts of the suite 5 may fail; with 6 no row is written, and `score` tries those again."""
    failing(monkeypatch, 6)
    with pytest.raises(InfrastructureError, match=r"6 of 1080 answers .*no verdict"):
        all_rows(make_suite(), out)
    with pytest.raises(InfrastructureError, match=r"6 of 1080 answers .*no verdict"):
        benchmark.scoring.aggregate.aggregate(make_suite(), read_runs(make_suite(), out), out, ENGINE)
    assert not (out / "rows.jsonl").exists()
    sizes = failing(monkeypatch, 0)
    rows = all_rows(make_suite(), out)
    assert sizes == [6]
    assert sum(row.n_ungraded for row in rows) == 0


def test_few_errors_are_counted_and_kept(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, 5)
    assert sum(row.n_ungraded for row in all_rows(make_suite(), out)) == 5
    assert failing(monkeypatch, 0) == []
    assert sum(row.n_ungraded for row in all_rows(make_suite(), out)) == 5


def test_answers_are_compared_as_their_task_says(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another kind of answer is another grader: what it was before does not stay."""
    kinds = set()

    def graded(asked: Sequence[Asked]) -> list[Grade]:
        kinds.update(one.kind for one in asked)
        return [Grade(status=Status.WRONG, answer=None)] * len(asked)

    run_score(out)
    monkeypatch.setattr(benchmark.scoring.score, "grade_all", graded)
    monkeypatch.setattr(
        benchmark.scoring.score,
        "find_task",
        lambda name: find_task(name).model_copy(update={"answer": "text"}),
    )
    assert run_score(out) == TEXTS
    assert kinds == {"text"}


def test_units_are_graded_together(out: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int, int]] = []
    monkeypatch.setattr(benchmark.scoring.score, "BATCH", 300)
    suite = make_suite()
    score(suite, read_runs(suite, out), out, ENGINE, lambda *counts: told.append(counts))
    assert asked == [360] * 3  # whole units of 40 and 80 until there are 300 texts
    assert told == [(6, 18, 360), (12, 18, 720), (18, 18, 1080)]
