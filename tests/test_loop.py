"""Whole training runs on the tiny policy: the run folder, exact resume, pairing of arms."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.catalog import load_problems
from tasks.checkpoints import inspect_checkpoint
from tasks.engines import WeightMismatch, open_engine
from tasks.engines.transformers_engine import TransformersEngine
from tasks.errors import InfrastructureError, Interrupted, UserError
from tasks.grading import Asked
from tasks.provenance import processor
from tasks.schema import Grade, Status
from trainer import loop
from trainer import update as update_module
from trainer.config import TrainConfig
from trainer.loop import train
from trainer.rollouts import problems_of_step, repeats, rollout
from trainer.runlog import read_metrics, read_timings


def config(policy: Path, **changes: Any) -> TrainConfig:
    values = {
        "policy": str(policy),
        "task": "add2",
        "arm": "lambda_grpo",
        "steps": 4,
        "problems_per_step": 2,
        "group_size": 4,
        "max_new_tokens": 6,
        "learning_rate": 1e-3,
        "micro_batch": 3,
        "checkpoint_every": 2,
        "engine": "transformers",
    }
    return TrainConfig.model_validate(values | changes)


def quiet(line: str) -> None:
    del line


def digests(out: Path) -> dict[str, str]:
    return {
        path.name: inspect_checkpoint(path).weights_hash for path in sorted((out / "checkpoints").iterdir())
    }


def train_to_step_3(policy: Path, out: Path) -> None:
    """Leave a run that was stopped after step 3, with a checkpoint at step 2."""

    def stop(line: str) -> None:
        if line.startswith("step 0003"):
            raise Interrupted("SIGTERM")

    with pytest.raises(Interrupted):
        train(config(policy), out, report=stop)


@pytest.mark.usefixtures("odd_is_right")
def test_run_folder_is_the_contract(tiny_policy: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    train(config(tiny_policy), tmp_path / "run", report=lines.append)
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["state"] == "done"
    assert manifest["seed"] == 0
    assert manifest["config_hash"] == json.loads((tmp_path / "run/config.json").read_text())["config_hash"]
    assert manifest["engine"] == "transformers"
    assert {"git_sha", "versions", "config_hash", "device"} <= manifest.keys()
    assert manifest["device"] == (processor() or "cpu")  # what seconds compare on, not only its kind
    found = digests(tmp_path / "run")
    assert list(found) == ["step_000000", "step_000002", "step_000004"]
    assert len(set(found.values())) == 3  # it learned something each time
    assert found["step_000000"] == inspect_checkpoint(tiny_policy).weights_hash
    AutoModelForCausalLM.from_pretrained(tmp_path / "run/checkpoints/step_000004")  # an ordinary HF folder
    metrics = read_metrics(tmp_path / "run")
    assert [line["step"] for line in metrics] == [1, 2, 3, 4]
    assert all(
        line["check/grpo_identity"] < 1e-10 and line["check/lambda_identity"] < 1e-10 for line in metrics
    )
    assert all(line["check/rollout_logprob_gap"] < 1e-3 for line in metrics)
    assert all(line["check/prefix_disagreement"] < 1e-5 for line in metrics)
    timings = read_timings(tmp_path / "run")
    assert [line["step"] for line in timings] == [1, 2, 3, 4]
    assert all(line["time/step_s"] > 0 and line["memory/peak_rss_bytes"] > 1e7 for line in timings)
    assert not [name for line in metrics for name in line if name.startswith(("time/", "memory/"))]
    assert metrics[-1]["tokens"] == round(sum(line["completion/mean_length"] * 8 for line in metrics))
    assert sum(line.startswith("step ") for line in lines) == 4
    assert lines[-1].startswith(f"done: 4 steps, {metrics[-1]['tokens']} completion tokens")


@pytest.mark.usefixtures("odd_is_right")
@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_stopped_run_ends_like_one_that_was_not(
    tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    train(config(tiny_policy), tmp_path / "straight", report=quiet)

    def stop(line: str) -> None:
        if line.startswith(f"step {stop_at + 1:04d}"):
            raise Interrupted("SIGTERM")

    with pytest.raises(Interrupted):
        train(config(tiny_policy), tmp_path / "stopped", report=stop)
    assert json.loads((tmp_path / "stopped/manifest.json").read_text())["state"] == "stopped"
    train(config(tiny_policy), tmp_path / "stopped", report=quiet)
    assert digests(tmp_path / "stopped") == digests(tmp_path / "straight")
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("stopped", "straight")]
    assert metrics[0] == metrics[1]
    assert [line["step"] for line in read_timings(tmp_path / "stopped")] == [1, 2, 3, 4]
    assert json.loads((tmp_path / "stopped/manifest.json").read_text())["state"] == "done"


@pytest.mark.usefixtures("odd_is_right")
def test_the_seed_decides_and_nothing_else(tiny_policy: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(config(tiny_policy, seed=seed, steps=2), tmp_path / name, report=quiet)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a")["step_000002"] != digests(tmp_path / "c")["step_000002"]


@pytest.mark.usefixtures("odd_is_right")
def test_arms_share_problems_and_first_rollouts_but_not_weights(tiny_policy: Path, tmp_path: Path) -> None:
    for arm in ("grpo", "lambda_grpo"):
        train(config(tiny_policy, arm=arm, steps=2, seed=1), tmp_path / arm, report=quiet)
    first = [read_metrics(tmp_path / arm)[0] for arm in ("grpo", "lambda_grpo")]
    assert first[0]["reward/mean"] == first[1]["reward/mean"]
    assert first[0]["tree/set_size"] == first[1]["tree/set_size"] > 1
    assert first[0]["loss"] != first[1]["loss"]
    assert digests(tmp_path / "grpo")["step_000002"] != digests(tmp_path / "lambda_grpo")["step_000002"]


@pytest.mark.usefixtures("odd_is_right")
def test_learning_rate_zero_leaves_the_policy_alone(tiny_policy: Path, tmp_path: Path) -> None:
    train(config(tiny_policy, learning_rate=0.0, steps=2), tmp_path / "run", report=quiet)
    assert len(set(digests(tmp_path / "run").values())) == 1


def test_a_done_run_is_left_alone(tiny_policy: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    train(config(tiny_policy, steps=2), tmp_path / "run", report=quiet)
    before = (tmp_path / "run/manifest.json").read_bytes()
    train(config(tiny_policy, steps=2), tmp_path / "run", report=lines.append)
    assert (tmp_path / "run/manifest.json").read_bytes() == before
    assert "done already" in lines[0]


def test_another_configuration_is_refused_and_nothing_changes(tiny_policy: Path, tmp_path: Path) -> None:
    train(config(tiny_policy, steps=2), tmp_path / "run", report=quiet)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"learning_rate=0\.001 there, 0\.5 here"):
        train(config(tiny_policy, steps=2, learning_rate=0.5), tmp_path / "run", report=quiet)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_corrupt_checkpoint_stops_the_resume(tiny_policy: Path, tmp_path: Path) -> None:
    train_to_step_3(tiny_policy, tmp_path / "run")
    weights = tmp_path / "run/checkpoints/step_000002/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="step_000002"):
        train(config(tiny_policy), tmp_path / "run", report=quiet)


def test_a_failure_is_written_down(
    tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> float:
        raise WeightMismatch("the engine holds other weights")

    monkeypatch.setattr(loop, "update", fail)
    with pytest.raises(WeightMismatch):
        train(config(tiny_policy), tmp_path / "run", report=quiet)
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["state"] == "failed"
    assert "other weights" in manifest["reason"]


def test_an_epoch_is_a_permutation_and_paired_over_arms(tiny_policy: Path) -> None:
    problems = load_problems("add2", "train")[:6]
    plan = config(tiny_policy)
    asked = [p.id for step in (1, 2, 3) for p in problems_of_step(problems, plan, step)]
    assert sorted(asked) == sorted(p.id for p in problems)
    other = plan.model_copy(update={"arm": "grpo", "learning_rate": 0.1})
    assert [p.id for step in (1, 2, 3) for p in problems_of_step(problems, other, step)] == asked
    assert [p.id for step in (4, 5, 6) for p in problems_of_step(problems, plan, step)] != asked


def test_embedded_policy_is_the_recorded_one() -> None:
    from trainer.policies import policy_folder

    folder = policy_folder("embedded")
    readme = (folder.parent / "README.md").read_text(encoding="utf-8")
    found = inspect_checkpoint(folder)
    assert found.weights_hash in readme
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4_000_000


def test_unknown_policy_names_the_closest(tiny_policy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="embedded"):
        train(config(Path("embeded")), tmp_path / "run", report=quiet)
    shutil.copytree(tiny_policy, tmp_path / "policy")
    (tmp_path / "policy/model.safetensors").unlink()
    with pytest.raises(UserError, match="policy"):
        train(config(tmp_path / "policy"), tmp_path / "run2", report=quiet)


def test_a_checkpoint_with_another_tokenizer_stops_the_resume(tiny_policy: Path, tmp_path: Path) -> None:
    train_to_step_3(tiny_policy, tmp_path / "run")
    tokenizer = tmp_path / "run/checkpoints/step_000002/tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"7"', '"x"'))
    with pytest.raises(UserError, match="tokenizer"):
        train(config(tiny_policy), tmp_path / "run", report=quiet)


@pytest.mark.usefixtures("odd_is_right")
def test_every_logged_name_is_explained(tiny_policy: Path, tmp_path: Path) -> None:
    plan = config(tiny_policy, truncated="masked", equal_reward_groups="dropped", updates_per_batch=2)
    train(plan, tmp_path / "run", report=quiet)
    text = (Path(__file__).parents[1] / "docs/metrics.md").read_text()
    logged = {name for line in read_metrics(tmp_path / "run") for name in line}
    logged |= {name for line in read_timings(tmp_path / "run") for name in line}
    binned = {name for name in logged if name.startswith("tree/set_size_from_")}
    assert binned
    assert [name for name in sorted(logged - binned) if f"`{name}`" not in text] == []


@pytest.mark.usefixtures("odd_is_right")
@pytest.mark.parametrize("arm", ["grpo", "lambda_grpo", "lambda_seq_mean"])
def test_the_logged_loss_is_that_of_the_trees(
    tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arm: str
) -> None:
    plan = config(tiny_policy, arm=arm, seed=1, steps=2, kl_beta=0.1, updates_per_batch=2, learning_rate=0.02)
    train(plan, tmp_path / "run", report=quiet)
    assert all(line["check/loss"] < 1e-5 for line in read_metrics(tmp_path / "run"))
    assert max(abs(line["loss"]) for line in read_metrics(tmp_path / "run")) > 1e-3
    whole = update_module.weighted_loss
    monkeypatch.setattr(update_module, "weighted_loss", lambda *streams: 2 * whole(*streams))
    train(plan, tmp_path / "double", report=quiet)
    assert max(line["check/loss"] for line in read_metrics(tmp_path / "double")) > 1e-3


def test_a_mean_over_nothing_is_null(tiny_policy: Path, tmp_path: Path) -> None:
    """No completion of the untrained policy is right, so every group is dropped and no token counts."""
    plan = config(tiny_policy, equal_reward_groups="dropped", steps=1, checkpoint_every=1)
    lines: list[str] = []
    train(plan, tmp_path / "run", report=lines.append)
    logged = read_metrics(tmp_path / "run")[0]
    assert logged["updates"] == 0
    assert logged["normaliser"] == 0.0
    assert [logged[name] for name in ("entropy", "kl", "importance/mean")] == [None, None, None]
    assert logged["reward/mean"] == 0.0  # that one is known
    assert "step 0001" in lines[-2]
    weights = digests(tmp_path / "run")
    assert weights["step_000001"] == weights["step_000000"]


def test_a_problem_that_comes_twice_in_a_step_is_drawn_twice(tiny_policy: Path) -> None:
    plan = config(tiny_policy, problems_per_step=4)
    problems = load_problems("add2", "train")[:3]
    asked = problems_of_step(problems, plan, 1)
    assert repeats(asked) == [0, 0, 0, 1]
    engine = open_engine("transformers", tiny_policy, max_model_len=64)
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy)
    groups = rollout(engine, tokenizer, asked, plan, 1)
    twin = next(group for group in groups[:3] if group.problem == groups[3].problem)
    assert [c.tokens for c in twin.completions] != [c.tokens for c in groups[3].completions]
    parts = [
        rollout(engine, tokenizer, asked[at : at + 2], plan, 1, repeats(asked)[at : at + 2]) for at in (0, 2)
    ]
    texts = [[[c.tokens for c in g.completions] for g in some] for some in (groups, parts[0] + parts[1])]
    assert texts[0] == texts[1]


@pytest.mark.usefixtures("odd_is_right")
def test_a_run_goes_on_with_as_many_processes_as_it_began(tiny_policy: Path, tmp_path: Path) -> None:
    train_to_step_3(tiny_policy, tmp_path / "run")
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["processes"] == 1
    (tmp_path / "run/manifest.json").write_text(json.dumps(manifest | {"processes": 2}))
    with pytest.raises(UserError, match=r"begun on 2 processes and this is 1; go on with 2"):
        train(config(tiny_policy), tmp_path / "run", report=quiet)


def test_the_engine_is_closed_when_a_run_fails(
    tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise FloatingPointError("not finite")

    closed: list[int] = []
    monkeypatch.setattr(loop, "update", fail)
    monkeypatch.setattr(TransformersEngine, "close", lambda self: closed.append(1))
    with pytest.raises(FloatingPointError):
        train(config(tiny_policy), tmp_path / "run", report=quiet)
    assert closed == [1]


def test_too_many_errors_of_the_grader_end_a_run_also_when_it_was_resumed(
    tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error in each step's eight: the third is one too many, and a resumed run knows of the first two."""

    def grade_all(asked: Sequence[Asked]) -> list[Grade]:
        failed = Grade(status=Status.ERROR, answer="9", detail="no verdict")
        return [failed, *[Grade(status=Status.WRONG, answer=None)] * (len(asked) - 1)]

    monkeypatch.setattr(loop, "grade_all", grade_all)
    monkeypatch.setattr(loop, "RATE_AFTER", 0)
    out, settings = tmp_path / "run", config(tiny_policy, checkpoint_every=1)
    for _ in range(2):
        with pytest.raises(InfrastructureError, match=r"3 of 24 answers .*no verdict"):
            train(settings, out, report=quiet)
        assert [line["reward/errors"] for line in read_metrics(out)] == [1, 1]
        assert json.loads((out / "manifest.json").read_text())["state"] == "failed"
