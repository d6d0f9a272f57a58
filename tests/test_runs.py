"""Run folders as the scorer reads them: what is missing, unequal or damaged is named first."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from benchmark.executor import WorkItem
from benchmark.jobs.runs import distinct_checkpoints, read_runs
from benchmark.suite import Suite, run_folder
from tasks.errors import UserError
from tests.toy import make_suite, write_run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for arm in ("grpo", "lambda_grpo"):
        for seed in (0, 1):
            write_run(tmp_path, arm, seed)
    return tmp_path


def refused(out: Path, message: str, suite: Suite | None = None) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_runs(suite or make_suite(), out)
    assert "\n" not in str(caught.value)


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


def test_another_way_of_asking_is_refused(out: Path) -> None:
    """The tokens of an arm's checkpoints may not end, and its prompts not begin, otherwise than another's."""
    folder = run_folder(out, "lambda_grpo", 1) / "checkpoints" / "step_000002"
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    refused(
        out, r"lambda_grpo/seed_1/\S*/step_000002: has another chat template, end token.*; copy chat_templ"
    )


def test_another_function_of_the_weights_is_refused(tiny: ModuleType, out: Path) -> None:
    for arm in ("grpo", "lambda_grpo"):
        for seed in (0, 1):
            for folder in (run_folder(out, arm, seed) / "checkpoints").iterdir():
                shutil.rmtree(folder)
                tiny.build_tiny(folder)
    read_runs(make_suite(), out)
    config = run_folder(out, "grpo", 1) / "checkpoints" / "step_000002" / "config.json"
    said = json.loads(config.read_text())
    del said["attention_bias"]  # the default: other words for the same
    config.write_text(json.dumps(said))
    read_runs(make_suite(), out)
    config.write_text(json.dumps(said | {"rms_norm_eps": 0.5}))
    refused(out, r"grpo/seed_1/\S*/step_000002: another architecture, rms_norm_eps=0.5 .*; arms compare with")


def test_the_same_weights_asked_otherwise_are_work_of_their_own(out: Path) -> None:
    run = read_runs(make_suite(arms=["grpo"], seeds=[0]), out)[0]
    one = run.checkpoints[4]
    other = replace(run, checkpoints=run.checkpoints | {4: replace(one, asking_hash="other")})
    found = distinct_checkpoints([run, other])
    assert [checkpoint.weights_hash for checkpoint in found].count(one.weights_hash) == 2
    assert len({WorkItem(checkpoint, (), 1).id for checkpoint in found}) == len(found) == 4


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
    assert len(distinct_checkpoints(read_runs(make_suite(), out))) == 9


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
