"""Grades to rows, on run folders and samples written by hand, so that every number is known."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.jobs.runs import distinct_checkpoints, read_runs
from benchmark.rows import latest_rows, read_rows
from benchmark.scoring.aggregate import aggregate, content
from benchmark.store import open_store
from benchmark.suite import run_folder
from tasks.catalog import load_problems, task_version
from tasks.checkpoints import inspect_checkpoint
from tasks.errors import UserError
from tasks.schema import Problem, Split
from tests.toy import (
    EFFECTIVE,
    ENGINE,
    RIGHT,
    SIZE,
    Place,
    all_rows,
    by_place,
    find_unit,
    make_suite,
    texts,
    write_checkpoint,
    write_suite,
    write_texts,
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_suite(tmp_path)


def test_every_cell_has_its_value(out: Path) -> None:
    rows = by_place(all_rows(make_suite(), out))
    assert rows.keys() == {(*place, split) for place in RIGHT for split in SIZE}
    for (*place, split), row in rows.items():
        right = RIGHT[tuple(place)] + 1  # type: ignore[index]
        assert row.value == pytest.approx(right / SIZE[split], abs=1e-12)
        share = right / SIZE[split]
        assert row.stderr == pytest.approx((share * (1 - share) / (SIZE[split] - 1)) ** 0.5, rel=1e-9)


def test_every_column_of_one_row(out: Path) -> None:
    suite = make_suite()
    row = by_place(all_rows(suite, out))["lambda_grpo", 1, 4, "test"]
    found = inspect_checkpoint(run_folder(out, "lambda_grpo", 1) / "checkpoints" / "step_000004")
    assert row.model_dump(exclude={"scored_at", "value", "stderr"}) == {
        "schema_version": 1,
        "kind": "real",
        "suite": "toy",
        "arm": "lambda_grpo",
        "model": "tiny",
        "step": 4,
        "seed": 1,
        "tokens": 401,
        "train_s": 2.0,
        "train_device": "EPYC",
        "task": "sums1",
        "split": "test",
        "task_version": task_version("sums1"),
        "metric": "accuracy",
        "higher_is_better": True,
        "n_items": 80,
        "n_asked": 80,
        "n_samples": 1,
        "n_loose": 56,  # 77 in two texts that were cut off and in all that are wrong
        "temperature": 0.0,
        "top_p": 1.0,
        "max_new_tokens": 48,
        "n_unparsed": 3,
        "n_truncated": 2,
        "n_ungraded": 0,
        "mean_tokens": 2.0,
        "engine": ENGINE,
        "config_hash": "lambda_grpo1",
        "weights_hash": found.weights_hash,
        "sample_key": find_unit(suite, out, ("lambda_grpo", 1, 4)).key,
        "git_sha": "abc",
        "git_dirty": False,
        "versions": {"torch": "2"},
        "device": "cpu",
        "wall_s": 1.5,
        "missing": "",
        "weights_note": "",
        "n_conflicts": 0,
        "measured_with": {},
        "endpoints": suite.endpoints.digest(),
    }


def test_samples_of_an_item_are_averaged_before_items(out: Path) -> None:
    suite = make_suite(samples=4, temperature=0.5)
    write_texts(suite, out, RIGHT)
    row = by_place(all_rows(suite, out))["grpo", 0, 4, "test"]
    means = np.array([1.0] * 10 + [0.25] + [0.0] * 69)
    assert row.value == pytest.approx(10.25 / 80, abs=1e-12)
    assert row.stderr == pytest.approx(means.std(ddof=1) / 80**0.5, rel=1e-9)
    assert (row.n_items, row.n_samples, row.n_unparsed, row.n_truncated) == (80, 4, 12, 8)
    others = {
        one.metric: one.value
        for one in all_rows(suite, out)
        if (one.arm, one.seed, one.step, one.split) == ("grpo", 0, 4, "test")
    }
    # item 10: one right and three times the same wrong answer
    pairs = {"pass@2": 1 - 3 / 6, "maj@2": 3 * 0.5 / 6, "pass@4": 1.0, "maj@4": 0.0}
    assert others == pytest.approx(
        {"accuracy": 10.25 / 80} | {name: (10 + part) / 80 for name, part in pairs.items()}
    )


def test_items_that_share_a_template_are_one_cluster(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def clustered(task: str, split: Split) -> list[Problem]:
        problems = load_problems(task, split)
        return [
            replace(one, cluster=f"template/{at // 8}" if at < 40 else "") for at, one in enumerate(problems)
        ]

    monkeypatch.setattr("benchmark.scoring.aggregate.load_problems", clustered)
    row = by_place(all_rows(make_suite(), out))["grpo", 0, 4, "test"]
    right = RIGHT["grpo", 0, 4] + 1
    error = np.array([1.0] * right + [0.0] * (80 - right)) - right / 80
    squares = sum(error[8 * c : 8 * c + 8].sum() ** 2 for c in range(5)) + (error[40:] ** 2).sum()
    assert row.value == right / 80
    assert row.stderr == pytest.approx((45 / 44 * squares) ** 0.5 / 80, rel=1e-9)
    assert row.stderr > (right / 80 * (1 - right / 80) / 79) ** 0.5 * 1.5  # neighbours are alike


def test_the_base_is_one_row_for_all_runs(out: Path) -> None:
    rows = all_rows(make_suite(), out)
    base = [row for row in rows if row.step == 0]
    assert {row.train_device for row in base} == {""}
    assert [(row.arm, row.seed, row.tokens, row.train_s, row.split) for row in base] == [
        ("base", None, 0, 0.0, "validation"),
        ("base", None, 0, 0.0, "test"),
    ]
    assert len(distinct_checkpoints(read_runs(make_suite(), out))) == 9


def test_scoring_again_appends_nothing(out: Path) -> None:
    first = all_rows(make_suite(), out)
    written = (out / "rows.jsonl").read_bytes()
    assert read_rows(out / "rows.jsonl") == first
    again = all_rows(make_suite(), out)
    assert (out / "rows.jsonl").read_bytes() == written
    assert by_place(again).keys() == by_place(first).keys()


def test_fewer_samples_leave_what_a_fresh_folder_has(out: Path, tmp_path: Path) -> None:
    """And the same number as before brings everything back."""
    four, two = (make_suite(samples=count, temperature=0.5) for count in (4, 2))
    fresh = write_suite(tmp_path / "fresh")

    def held(folder: Path) -> list[object]:
        return [content(row) for row in latest_rows(read_rows(folder / "rows.jsonl"))]

    for folder in (out, fresh):
        write_texts(four, folder, RIGHT)
    all_rows(four, out)
    first = held(out)
    all_rows(two, out)
    all_rows(two, fresh)
    assert held(out) == held(fresh)
    assert {row.metric for row in latest_rows(read_rows(out / "rows.jsonl"))} == {
        "accuracy",
        "pass@2",
        "maj@2",
    }
    all_rows(four, out)
    assert sorted(map(str, held(out))) == sorted(map(str, first))


def test_a_set_that_went_keeps_its_rows_as_long_as_they_answer_the_suite(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    four, two = (make_suite(samples=count, temperature=0.5) for count in (4, 2))
    write_texts(four, out, RIGHT)
    before = all_rows(four, out)
    monkeypatch.setattr("benchmark.scoring.aggregate.missing_sets", lambda tasks: {"sums1": "gone"})
    again = aggregate(four, read_runs(four, out), out, ENGINE)
    assert list(map(content, again)) == list(map(content, before))
    fewer = aggregate(two, read_runs(two, out), out, ENGINE)
    assert {(row.value, row.missing, row.n_samples) for row in fewer} == {(None, "gone", 2)}


def test_a_set_that_went_keeps_no_row_of_what_changed_meanwhile(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = make_suite()
    all_rows(suite, out)
    monkeypatch.setattr("benchmark.scoring.aggregate.missing_sets", lambda tasks: {"sums1": "gone"})
    again = run_folder(out, "grpo", 1) / "checkpoints" / "step_000004"
    shutil.rmtree(again)
    write_checkpoint(again, 0.25)
    path = run_folder(out, "lambda_grpo", 0) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"config_hash": "another"}))

    def lost() -> set[Place]:
        rows = aggregate(suite, read_runs(suite, out), out, ENGINE)
        assert all((row.value is None) == (row.missing == "gone") for row in rows)
        return {(row.arm, row.seed, row.step) for row in rows if row.missing}

    assert lost() == {("grpo", 1, 4), ("lambda_grpo", 0, 2), ("lambda_grpo", 0, 4)}
    monkeypatch.setattr("benchmark.scoring.aggregate.task_version", lambda task: "another")
    assert lost() == set(RIGHT)


def test_another_kind_of_suite_has_rows_of_its_own(out: Path) -> None:
    all_rows(make_suite(), out)
    all_rows(make_suite(kind="smoke"), out)
    kinds = [row.kind for row in read_rows(out / "rows.jsonl")]
    assert kinds == ["real"] * 18 + ["smoke"] * 18


def test_what_is_judged_may_not_change_after_the_fact(out: Path) -> None:
    all_rows(make_suite(), out)
    with pytest.raises(UserError, match=r"measured under other \[endpoints\] than suite 'toy' declares"):
        all_rows(make_suite(endpoints={"margin": 0.05}), out)
    lines = [json.loads(line) | {"endpoints": ""} for line in (out / "rows.jsonl").read_text().splitlines()]
    (out / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert {row.endpoints for row in all_rows(make_suite(), out)} == {make_suite().endpoints.digest()}


def test_what_measured_is_named(out: Path) -> None:
    suite = make_suite(temperature=0.5)
    said = EFFECTIVE | {"version": "5.19.0", "lm_eval": "0.4.13"}
    halves = {"2.13.0+cpu": slice(0, 9), "2.13.0+cu130": slice(9, None)}  # one version, built for two devices
    for torch, half in halves.items():
        with open_store(out).writer("w") as writer:
            for place in RIGHT:
                for split in SIZE:
                    request = find_unit(suite, out, place, split).request
                    writer.append(request, said | {"torch": torch}, texts(suite, split, 0)[half])
    versions = {ENGINE: "5.19.0", "torch": "2.13.0+cpu, 2.13.0+cu130", "lm-eval": "0.4.13"}
    assert {json.dumps(row.measured_with) for row in all_rows(suite, out)} == {json.dumps(versions)}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"top_k": 50}, "top_k=0 and 50"),
        ({"stop_token_ids": "2,7"}, "stop_token_ids=2 and 2,7"),
        ({"version": "5.18.0"}, "version=5.18.0 and 5.19.0"),
        ({"torch": "2.6.0"}, "torch=2.13.0 and 2.6.0"),
        ({"min_p": 0.1}, "min_p=0.1 and None"),
    ],
)
def test_blocks_that_were_generated_in_two_ways_are_refused(
    out: Path, change: dict[str, Any], named: str
) -> None:
    suite = make_suite(temperature=0.5)
    said = EFFECTIVE | {"version": "5.19.0", "torch": "2.13.0+cpu", "top_k": 0, "stop_token_ids": "2"}
    request = find_unit(suite, out, ("grpo", 0, 2)).request
    with open_store(out).writer("w") as writer:
        writer.append(request, said, texts(suite, "test", 8)[:5])
        writer.append(request, said | change, texts(suite, "test", 8)[5:])
    with pytest.raises(
        UserError, match=f"step_000002, sums1 test: generated in two ways, {named}; gen"
    ) as caught:
        all_rows(suite, out)
    assert "\n" not in str(caught.value)


def test_how_the_weights_got_into_the_engine_is_noted(out: Path) -> None:
    suite = make_suite(temperature=0.5)
    for number, how in enumerate(("opened", "swapped", "restarted: the proof failed")):
        with open_store(out).writer("w") as writer:
            for place in RIGHT:
                for split in SIZE:
                    unit = find_unit(suite, out, place, split)
                    effective = EFFECTIVE | {
                        "weights": how if place[0] == "grpo" else "swapped",
                        "device": how[:6],
                    }
                    part = texts(suite, split, 0)[number::3]
                    writer.append(unit.request, effective, part)
                    writer.append(unit.request, effective | {"seconds": 7.0}, part[:9])  # a worker too many
    rows = all_rows(suite, out)
    assert {row.arm: row.weights_note for row in rows} == {
        "base": "",
        "grpo": "restarted: the proof failed",
        "lambda_grpo": "",
    }
    assert {(row.device, row.wall_s) for row in rows} == {("opened, restar, swappe", 4.5)}
