"""TRL as an arm: what the command refuses, and the run folder that it leaves."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from benchmark.jobs.runs import read_runs
from benchmark.suite import Suite, arm_commands, run_folder
from tasks.catalog import load_problems
from tasks.checkpoints import inspect_checkpoint
from tasks.errors import Interrupted, UserError
from tasks.prompts import encode_prompt, prompt_text
from tasks.schema import Grade
from trainer import loop
from trainer.config import TrainConfig
from trainer.peers.trl_grpo import TrlConfig, read_config
from trainer.rollouts import problems_of_step
from trainer.runlog import read_metrics, read_timings
from trainer.schedule import learning_rate

VALUES = {
    "task": "add2",
    "steps": 2,
    "problems_per_step": 2,
    "group_size": 4,
    "max_new_tokens": 6,
    "learning_rate": 1e-3,
    "micro_batch": 4,
    "checkpoint_every": 1,
    "engine": "transformers",
}
needs_trl = [pytest.mark.peers, pytest.mark.filterwarnings("default")]  # TRL's own warnings are not ours


def config(policy: Path, **changes: Any) -> TrlConfig:
    return TrlConfig.model_validate({"policy": str(policy), "arm": "grpo", **VALUES, **changes})


def quiet(line: str) -> None:
    del line


def asked(*settings: str, lambda_weights: bool = False) -> TrlConfig:
    arguments = argparse.Namespace(recipe="embedded", set=list(settings), lambda_weights=lambda_weights)
    return read_config(arguments)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (["engine=vllm"], "engine='vllm': .*transformers"),
        (["update_dtype=bfloat16"], "dtype='float32' with update_dtype='bfloat16'"),
        (["micro_batch=100"], "micro_batch=100: .*128 completions .*divisor"),
        (["replay=rollouts"], "replay='rollouts': TRL's trainer has no such option; leave it at None"),
        (["updates_per_batch=2"], "updates_per_batch=2: TRL's trainer has no such option"),
        (["forward=tree"], "forward='tree': TRL's trainer has no such option"),
        (["lora_rank=4"], "lora_rank=4: TRL's trainer has no such option"),
        (["weight_dtype=bfloat16"], "weight_dtype='bfloat16': TRL's trainer has no such option"),
        (["learning_rat=1"], "unknown key 'learning_rat'"),
    ],
)
def test_what_trl_cannot_do_is_refused(settings: list[str], why: str) -> None:
    with pytest.raises(UserError, match=why):
        asked(*settings)


def test_a_key_that_nobody_carried_over_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that a later recipe brings is refused until somebody says how TRL honours it."""
    from trainer.peers import trl_grpo

    monkeypatch.setattr(trl_grpo, "HONOURED", trl_grpo.HONOURED - {"kl_beta"})
    asked()
    with pytest.raises(UserError, match=r"kl_beta=0.1: TRL's trainer has no such option; leave it at 0.0"):
        asked("kl_beta=0.1")


def test_the_flag_decides_the_arm_and_the_trainer_is_in_the_hash() -> None:
    plain, weighted = asked(), asked("arm=grpo", lambda_weights=True)
    assert (plain.arm, weighted.arm) == ("grpo", "lambda_grpo")
    ours = TrainConfig.model_validate({k: v for k, v in plain.model_dump().items() if k != "trainer"})
    assert len({plain.digest(), weighted.digest(), ours.digest()}) == 3


def test_the_arms_start_the_adapter() -> None:
    for name in ("trl_grpo", "trl_lambda"):
        command = arm_commands()[name].command
        assert command[1:3] == ["-m", "trainer.peers.trl_grpo"]
        assert ("--lambda-weights" in command) == (name == "trl_lambda")


@pytest.mark.usefixtures("odd_is_right")
class TestRun:
    pytestmark = needs_trl

    def test_the_benchmark_reads_it_beside_our_own_run(self, tiny_policy: Path, tmp_path: Path) -> None:
        from trainer.peers.trl_run import train

        suite = Suite(
            name="peers",
            summary="",
            recipe="embedded",
            arms=["grpo", "trl_grpo", "trl_lambda"],
            baseline="grpo",
            seeds=[0],
            tasks=["add2"],
        )
        own = TrainConfig.model_validate({"policy": str(tiny_policy), "arm": "grpo", **VALUES, "seed": 1})
        loop.train(own, run_folder(tmp_path, "grpo", 0), report=quiet)
        train(config(tiny_policy), run_folder(tmp_path, "trl_grpo", 0), report=quiet)
        train(config(tiny_policy, arm="lambda_grpo"), run_folder(tmp_path, "trl_lambda", 0), report=quiet)
        runs = read_runs(suite, tmp_path)
        hashes = [[checkpoint.weights_hash for checkpoint in run.checkpoints.values()] for run in runs]
        assert len({row[0] for row in hashes}) == 1  # one start
        assert len({hash for row in hashes for hash in row}) == 7  # and every step of every run moved
        assert [run.manifest["engine"] for run in runs] == ["transformers", "trl", "trl"]
        assert "trl" in runs[1].manifest["versions"]
        for run in runs[1:]:
            metrics = read_metrics(run.folder)
            assert [line["step"] for line in metrics] == [1, 2]
            assert metrics[1]["tokens"] == sum(line["step_tokens"] for line in metrics)
            timings = read_timings(run.folder)
            assert [line["step"] for line in timings] == [1, 2]
            assert all(0 < line["time/rollout_s"] < line["time/step_s"] for line in timings)
            assert not [name for line in metrics for name in line if "time" in name]
            assert all(0 < line["reward/mean"] < 1 for line in metrics)
            assert all(line["trl/reward"] == pytest.approx(line["reward/mean"]) for line in metrics)
            saved = run.folder / "checkpoints/step_000002"
            for name in ("config.json", "generation_config.json", "tokenizer.json"):
                assert (saved / name).read_text() == (
                    runs[0].folder / "checkpoints/step_000002" / name
                ).read_text()

    def test_problems_and_prompts_are_ours(
        self, tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from trainer.peers import trl_recipe
        from trainer.peers.trl_run import train

        policy = tiny.build_tiny(tmp_path / "policy")
        tokenizer = AutoTokenizer.from_pretrained(policy)
        begin = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", tiny.BOS)])
        tokenizer.backend_tokenizer.post_processor = begin  # one that adds a token of its own to a plain text
        tokenizer.save_pretrained(policy)

        prompts: list[tuple[int, ...]] = []
        problems: list[str] = []
        decode = trl_recipe.GRPOTrainer._generate_single_turn
        grade_groups = trl_recipe.grade_groups

        def watched(self: Any, prompt_ids: list[list[int]], *others: Any) -> Any:
            prompts.extend(tuple(ids) for ids in prompt_ids)
            return decode(self, prompt_ids, *others)

        def graded(groups: Any, *others: Any) -> list[list[Grade]]:
            problems.extend(group.problem.id for group in groups)
            return grade_groups(groups, *others)

        monkeypatch.setattr(trl_recipe.GRPOTrainer, "_generate_single_turn", watched)
        monkeypatch.setattr(trl_recipe, "grade_groups", graded)
        settings = config(policy, seed=5)
        train(settings, tmp_path / "run", report=quiet)
        available = load_problems("add2", "train")
        expected = [p for step in (1, 2) for p in problems_of_step(available, settings, step)]
        assert problems == [problem.id for problem in expected]
        texts = [prompt_text("add2", problem.question, tokenizer) for problem in expected]
        assert prompts == [encode_prompt(text, tokenizer) for text in texts for _ in range(4)]
        assert prompts[0][0] != tokenizer(texts[0])["input_ids"][0] == tiny.BOS

    def test_a_stopped_run_starts_over_and_a_finished_one_is_left_alone(
        self, tiny_policy: Path, tmp_path: Path
    ) -> None:
        from trainer.peers.trl_run import train

        def stop(line: str) -> None:
            if line.startswith("step 0001"):
                raise Interrupted("SIGTERM")

        out = tmp_path / "run"
        with pytest.raises(Interrupted):
            train(config(tiny_policy), out, report=stop)
        assert json.loads((out / "manifest.json").read_text())["state"] == "stopped"
        lines: list[str] = []
        train(config(tiny_policy), out, report=lines.append)
        assert "starts over" in lines[0]
        assert [line["step"] for line in read_metrics(out)] == [1, 2]
        assert json.loads((out / "manifest.json").read_text())["state"] == "done"
        last = inspect_checkpoint(out / "checkpoints/step_000002").weights_hash
        train(config(tiny_policy), out, report=lines.append)
        assert lines[-1] == f"{out}: done already, 2 steps"
        assert inspect_checkpoint(out / "checkpoints/step_000002").weights_hash == last

    def test_a_folder_of_our_own_trainer_is_not_taken(self, tiny_policy: Path, tmp_path: Path) -> None:
        from trainer.peers.trl_run import train

        own = TrainConfig.model_validate({"policy": str(tiny_policy), "arm": "grpo", **VALUES})
        loop.train(own, tmp_path / "run", report=quiet)
        with pytest.raises(UserError, match=r"trainer=None there, 'trl' here"):
            train(config(tiny_policy), tmp_path / "run", report=quiet)

    def test_the_schedule_is_ours(self, tiny_policy: Path, tmp_path: Path) -> None:
        from trainer.peers.trl_run import train

        settings = config(tiny_policy, steps=4, warmup_steps=2, schedule="cosine", learning_rate_end=1e-4)
        train(settings, tmp_path / "run", report=quiet)
        rates = [line["trl/learning_rate"] for line in read_metrics(tmp_path / "run")]
        assert rates == pytest.approx([learning_rate(settings, step) for step in range(1, 5)])

    def test_long_prompts_are_left_out(self, tiny_policy: Path, tmp_path: Path) -> None:
        from trainer.peers.trl_run import train

        lines: list[str] = []
        train(config(tiny_policy, max_prompt_tokens=5), tmp_path / "run", report=lines.append)
        assert "problems left out" in lines[0]

    def test_activation_checkpointing_changes_no_number(self, tiny_policy: Path, tmp_path: Path) -> None:
        from trainer.peers.trl_recipe import grpo_arguments
        from trainer.peers.trl_run import train

        used = [
            grpo_arguments(config(tiny_policy, activation_checkpointing=on), torch.device("cpu"))
            for on in (False, True)
        ]
        assert [arguments.gradient_checkpointing for arguments in used] == [False, True]
        for name, on in (("plain", False), ("checkpointed", True)):
            train(config(tiny_policy, activation_checkpointing=on), tmp_path / name, report=quiet)
        plain, checkpointed = (read_metrics(tmp_path / name)[-1] for name in ("plain", "checkpointed"))
        assert checkpointed["gradient_norm"] == pytest.approx(plain["gradient_norm"], rel=1e-5)

    def test_kl_and_bfloat16_run(self, tiny_policy: Path, tmp_path: Path) -> None:
        from trainer.peers.trl_run import train

        settings = config(tiny_policy, kl_beta=0.04, update_dtype="bfloat16", dtype="bfloat16")
        train(settings, tmp_path / "run", report=quiet)
        assert all("trl/kl" in line for line in read_metrics(tmp_path / "run"))
