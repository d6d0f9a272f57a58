"""Stored texts to rows, on run folders and samples written by hand, so that every number is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import benchmark.measure
import benchmark.score
from benchmark.generate import sample_request
from benchmark.rows import ResultRow, read_rows
from benchmark.runs import distinct_checkpoints, read_runs
from benchmark.score import score
from benchmark.store import Sample, sample_key
from benchmark.suite import Suite, run_folder
from tasks.catalog import find_task, load_problems, task_version
from tasks.checkpoints import inspect_checkpoint
from tasks.engines import Finish
from tasks.errors import InfrastructureError, UserError
from tasks.grading import Asked
from tasks.schema import Grade, Problem, Split, Status
from tests.stored import write_samples

ENGINE = "transformers"
EFFECTIVE = {"engine": ENGINE, "device": "cpu", "seconds": 1.5}
STEPS = (0, 2, 4)
SIZE = {"validation": 40, "test": 80}


def make_suite(**changes: Any) -> Suite:
    fields = {
        "name": "toy",
        "summary": "",
        "recipe": "embedded",
        "arms": ["grpo", "lambda_grpo"],
        "baseline": "grpo",
        "seeds": [0, 1],
        "tasks": ["sums1"],
    }
    return Suite.model_validate(fields | changes)


def write_checkpoint(folder: Path, number: float) -> None:
    folder.mkdir(parents=True)
    save_file({"weight": np.full(4, number, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"vocab_size": 1}')
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')


def write_run(out: Path, arm: str, seed: int, *, base: float = 0.0, steps: tuple[int, ...] = STEPS) -> Path:
    folder = run_folder(out, arm, seed)
    for step in steps:
        write_checkpoint(
            folder / "checkpoints" / f"step_{step:06d}", hash_free(arm, seed, step) if step else base
        )
    logged = range(1, max(steps) + 1)
    metrics = [{"step": step, "tokens": 100 * step + seed} for step in logged]
    timings = [{"step": step, "time/step_s": 0.5} for step in logged]
    for name, lines in (("metrics", metrics), ("timings", timings)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.json").write_text(
        json.dumps({"config": {"policy": "tiny"}, "config_hash": f"{arm}{seed}"})
    )
    manifest = {"state": "done", "git_sha": "abc", "git_dirty": False, "versions": {"torch": "2"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def hash_free(arm: str, seed: int, step: int) -> float:
    """A number of its own for every checkpoint."""
    return 100 * ["grpo", "lambda_grpo"].index(arm) + 10 * seed + step


def texts(suite: Suite, split: str, right: int) -> list[Sample]:
    """`right` items right in all samples, one more in sample 0 alone; then 3 unparsed, 2 truncated, wrong."""
    samples = []
    for at, problem in enumerate(load_problems("sums1", split)):  # type: ignore[arg-type]
        for index in range(suite.decoding("sums1").samples):
            if at < right or (at == right and index == 0):
                text, finish = f"The answer is {problem.gold}", Finish.STOP
            elif at - right in (1, 2, 3):
                text, finish = "no idea", Finish.STOP
            elif at - right in (4, 5):
                text, finish = "thinking of 77", Finish.LENGTH
            else:
                text, finish = "77", Finish.STOP
            samples.append(
                Sample(
                    item=problem.id,
                    index=index,
                    text=text,
                    tokens=at % 5,
                    finish=finish,
                    seed=0,
                    prompt_hash="",
                )
            )
    return samples


def write_texts(suite: Suite, out: Path, right: dict[tuple[str, int | None, int], int]) -> None:
    """`right`: (arm, seed, step) -> items right; the base is ("base", None, 0)."""
    for (arm, seed, step), count in right.items():
        place = ("grpo", 0) if seed is None else (arm, seed)
        found = inspect_checkpoint(run_folder(out, *place) / "checkpoints" / f"step_{step:06d}")
        for split in SIZE:
            request = sample_request(suite, found, "sums1", split, ENGINE)  # type: ignore[arg-type]
            write_samples(out, request, EFFECTIVE, texts(suite, split, count))


RIGHT = {
    ("base", None, 0): 4,
    ("grpo", 0, 2): 8,
    ("grpo", 0, 4): 10,
    ("grpo", 1, 2): 7,
    ("grpo", 1, 4): 0,
    ("lambda_grpo", 0, 2): 12,
    ("lambda_grpo", 0, 4): 16,
    ("lambda_grpo", 1, 2): 9,
    ("lambda_grpo", 1, 4): 20,
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return two arms x two seeds x three checkpoints with all their texts, greedy."""
    for arm in ("grpo", "lambda_grpo"):
        for seed in (0, 1):
            write_run(tmp_path, arm, seed)
    write_texts(make_suite(), tmp_path, RIGHT)
    return tmp_path


def by_place(rows: list[ResultRow]) -> dict[tuple[str, int | None, int, str], ResultRow]:
    return {(row.arm, row.seed, row.step, row.split): row for row in rows if row.metric == "accuracy"}


def test_every_cell_has_its_value(out: Path) -> None:
    rows = by_place(score(make_suite(), read_runs(make_suite(), out), out, ENGINE))
    assert rows.keys() == {(*place, split) for place in RIGHT for split in SIZE}
    for (*place, split), row in rows.items():
        right = RIGHT[tuple(place)] + 1  # type: ignore[index]
        assert row.value == pytest.approx(right / SIZE[split], abs=1e-12)
        share = right / SIZE[split]
        assert row.stderr == pytest.approx((share * (1 - share) / (SIZE[split] - 1)) ** 0.5, rel=1e-9)


def test_every_column_of_one_row(out: Path) -> None:
    suite = make_suite()
    row = by_place(score(suite, read_runs(suite, out), out, ENGINE))["lambda_grpo", 1, 4, "test"]
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
        "task": "sums1",
        "split": "test",
        "task_version": task_version("sums1"),
        "metric": "accuracy",
        "higher_is_better": True,
        "n_items": 80,
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
        "sample_key": sample_key(sample_request(suite, found, "sums1", "test", ENGINE)),
        "git_sha": "abc",
        "git_dirty": False,
        "versions": {"torch": "2"},
        "device": "cpu",
        "wall_s": 1.5,
        "missing": "",
    }


def test_samples_of_an_item_are_averaged_before_items(out: Path) -> None:
    suite = make_suite(samples=4, temperature=0.5)
    write_texts(suite, out, RIGHT)
    row = by_place(score(suite, read_runs(suite, out), out, ENGINE))["grpo", 0, 4, "test"]
    means = np.array([1.0] * 10 + [0.25] + [0.0] * 69)
    assert row.value == pytest.approx(10.25 / 80, abs=1e-12)
    assert row.stderr == pytest.approx(means.std(ddof=1) / 80**0.5, rel=1e-9)
    assert (row.n_items, row.n_samples, row.n_unparsed, row.n_truncated) == (80, 4, 12, 8)
    others = {
        one.metric: one.value
        for one in score(suite, read_runs(suite, out), out, ENGINE)
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

    monkeypatch.setattr("benchmark.score.load_problems", clustered)
    row = by_place(score(make_suite(), read_runs(make_suite(), out), out, ENGINE))["grpo", 0, 4, "test"]
    right = RIGHT["grpo", 0, 4] + 1
    error = np.array([1.0] * right + [0.0] * (80 - right)) - right / 80
    squares = sum(error[8 * c : 8 * c + 8].sum() ** 2 for c in range(5)) + (error[40:] ** 2).sum()
    assert row.value == right / 80
    assert row.stderr == pytest.approx((45 / 44 * squares) ** 0.5 / 80, rel=1e-9)
    assert row.stderr > (right / 80 * (1 - right / 80) / 79) ** 0.5 * 1.5  # neighbours are alike


def test_the_base_is_one_row_for_all_runs(out: Path) -> None:
    rows = score(make_suite(), read_runs(make_suite(), out), out, ENGINE)
    base = [row for row in rows if row.step == 0]
    assert [(row.arm, row.seed, row.tokens, row.train_s, row.split) for row in base] == [
        ("base", None, 0, 0.0, "validation"),
        ("base", None, 0, 0.0, "test"),
    ]
    assert len(distinct_checkpoints(read_runs(make_suite(), out))) == 9


def test_scoring_again_appends_nothing(out: Path) -> None:
    first = score(make_suite(), read_runs(make_suite(), out), out, ENGINE)
    written = (out / "rows.jsonl").read_bytes()
    assert read_rows(out / "rows.jsonl") == first
    again = score(make_suite(), read_runs(make_suite(), out), out, ENGINE)
    assert (out / "rows.jsonl").read_bytes() == written
    assert by_place(again).keys() == by_place(first).keys()


def test_a_changed_verdict_appends_its_row_alone(out: Path) -> None:
    score(make_suite(), read_runs(make_suite(), out), out, ENGINE)
    before = (out / "rows.jsonl").read_bytes()
    write_texts(make_suite(), out, {("grpo", 1, 4): 1})
    score(make_suite(), read_runs(make_suite(), out), out, ENGINE)
    after = (out / "rows.jsonl").read_bytes()
    assert after.startswith(before)
    added = [json.loads(line) for line in after[len(before) :].splitlines()]
    assert [(row["arm"], row["seed"], row["step"]) for row in added] == [("grpo", 1, 4)] * 2


def test_another_kind_of_suite_has_rows_of_its_own(out: Path) -> None:
    score(make_suite(), read_runs(make_suite(), out), out, ENGINE)
    score(make_suite(kind="smoke"), read_runs(make_suite(kind="smoke"), out), out, ENGINE)
    kinds = [row.kind for row in read_rows(out / "rows.jsonl")]
    assert kinds == ["real"] * 18 + ["smoke"] * 18


def stored(out: Path, arm: str = "grpo", seed: int = 0, step: int = 2) -> Path:
    """Return the one shard that holds the test texts of a checkpoint."""
    found = inspect_checkpoint(run_folder(out, arm, seed) / "checkpoints" / f"step_{step:06d}")
    key = sample_key(sample_request(make_suite(), found, "sums1", "test", ENGINE))
    (path,) = (path for path in (out / "samples").glob("*.jsonl") if f'"key":"{key}"' in path.read_text())
    return path


def refused(out: Path, message: str, suite: Suite | None = None) -> None:
    with pytest.raises(UserError, match=message) as caught:
        score(suite or make_suite(), read_runs(suite or make_suite(), out), out, ENGINE)
    assert "\n" not in str(caught.value)
    assert not (out / "rows.jsonl").exists()


def test_missing_texts_are_not_wrong_answers(out: Path) -> None:
    stored(out).unlink()
    refused(out, "step_000002: no texts for sums1 test; run the suite to generate them")


def test_texts_of_another_engine_are_missing(out: Path) -> None:
    with pytest.raises(UserError, match="no texts for sums1 validation"):
        score(make_suite(), read_runs(make_suite(), out), out, "vllm")


def test_missing_and_foreign_items_are_refused(out: Path) -> None:
    suite = make_suite()
    found = inspect_checkpoint(run_folder(out, "grpo", 0) / "checkpoints" / "step_000002")
    request = sample_request(suite, found, "sums1", "test", ENGINE)
    whole = texts(suite, "test", 3)
    foreign = [*whole[:-1], texts(suite, "validation", 3)[0]]
    for samples in (whole[:-1], foreign, [*whole[:-1], whole[0]]):
        stored(out).unlink()
        write_samples(out, request, EFFECTIVE, samples)
        refused(out, r"\d\d samples do not cover 80 items x 1; run the same command with `generate`")


def test_damaged_texts_are_refused(out: Path) -> None:
    path = stored(out)
    path.write_bytes(path.read_bytes()[:-9])
    refused(out, f"{path.name}: damaged, ")


@pytest.mark.parametrize("state", ["running", "stopped", "failed"])
def test_an_unfinished_run_is_refused(out: Path, state: str) -> None:
    path = run_folder(out, "lambda_grpo", 1) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": state}))
    refused(out, f"lambda_grpo/seed_1: state is '{state}', want 'done'; run the suite again to finish it")


def test_a_run_that_is_not_there_is_refused(out: Path) -> None:
    refused(out, "manifest.json: missing, so grpo seed 2 was not trained", make_suite(seeds=[0, 1, 2]))


def test_another_start_is_refused(out: Path) -> None:
    shutil.rmtree(run_folder(out, "lambda_grpo", 0))
    write_run(out, "lambda_grpo", 0, base=0.5)
    refused(out, r"lambda_grpo/seed_0: starts from other weights than \S*grpo/seed_0")


@pytest.mark.parametrize("steps", [(0, 2), (0, 2, 3), (0, 2, 4, 6)])
def test_unequal_checkpoints_are_refused(out: Path, steps: tuple[int, ...]) -> None:
    shutil.rmtree(run_folder(out, "grpo", 1))
    write_run(out, "grpo", 1, steps=steps)
    message = (
        rf"grpo/seed_1: has checkpoints \[{', '.join(map(str, steps))}\], .* has \[0, 2, 4\]; train both"
    )
    refused(out, message)


def test_a_run_without_its_start_is_refused(out: Path) -> None:
    shutil.rmtree(run_folder(out, "grpo", 0) / "checkpoints" / "step_000000")
    refused(out, "checkpoint step_000000 is missing")


def test_a_broken_checkpoint_is_refused(out: Path) -> None:
    path = run_folder(out, "grpo", 0) / "checkpoints" / "step_000002" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    refused(out, "cut off or overwritten")


def test_a_half_written_checkpoint_under_its_temporary_name_is_no_checkpoint(out: Path) -> None:
    (run_folder(out, "grpo", 0) / "checkpoints" / ".step_000006.99.tmp").mkdir()
    assert len(score(make_suite(), read_runs(make_suite(), out), out, ENGINE)) == 18


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", "{"),
        ("manifest.json", "[]"),
        ("manifest.json", "3"),
        ("manifest.json", '{"state": "done"}'),
        ("config.json", "{}"),
        ("metrics.jsonl", '{"step": 1'),
        ("metrics.jsonl", ""),
        ("metrics.jsonl", '{"step": 1, "tokens": null}'),
        ("timings.jsonl", '{"step": 1'),
        ("timings.jsonl", ""),
        ("timings.jsonl", '{"step": 1, "time/step_s": "fast"}'),
    ],
)
def test_a_damaged_run_folder_is_named(out: Path, name: str, content: str) -> None:
    (run_folder(out, "grpo", 0) / name).write_text(content)
    refused(out, f"grpo/seed_0.*{name}")


@pytest.mark.parametrize("name", ["metrics.jsonl", "timings.jsonl"])
def test_a_missing_log_is_named(out: Path, name: str) -> None:
    (run_folder(out, "grpo", 0) / name).unlink()
    refused(out, rf"grpo/seed_0/{name}: missing, though the run has a manifest; delete the run folder")


def test_a_foreign_folder_among_the_checkpoints_is_named(out: Path) -> None:
    (run_folder(out, "grpo", 0) / "checkpoints" / "step_best").mkdir()
    refused(out, "step_best: not the name of a checkpoint")


def test_too_many_errors_of_the_grader_end_the_scoring(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 1080 texts of the suite 5 may fail, wherever they are; then no row is written."""
    suite, real = make_suite(), benchmark.measure.grade_all
    seen: list[int] = []

    def grade_all(asked: Sequence[Asked]) -> list[Grade]:
        seen.append(len(asked))
        failed = Grade(status=Status.ERROR, answer="9", detail="no verdict")
        return [failed, *real(asked)[1:]] if len(seen) <= errors else real(asked)

    monkeypatch.setattr(benchmark.measure, "grade_all", grade_all)
    errors = 6
    with pytest.raises(InfrastructureError, match=r"6 of 1080 answers .*no verdict"):
        score(suite, read_runs(suite, out), out, ENGINE)
    assert not (out / "rows.jsonl").exists()
    errors = 5
    seen.clear()
    rows = score(suite, read_runs(suite, out), out, ENGINE)
    assert sum(seen) == 1080
    assert sum(row.n_ungraded for row in rows) == 5


def test_answers_are_compared_as_their_task_says(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, kinds = make_suite(), set()

    def grade_all(asked: Sequence[Asked]) -> list[Grade]:
        kinds.update(one.kind for one in asked)
        return [Grade(status=Status.WRONG, answer=None)] * len(asked)

    monkeypatch.setattr(benchmark.measure, "grade_all", grade_all)
    monkeypatch.setattr(
        benchmark.score, "find_task", lambda name: find_task(name).model_copy(update={"answer": "text"})
    )
    score(suite, read_runs(suite, out), out, ENGINE)
    assert kinds == {"text"}
