"""The embedded policy: its tokenizer, its worked answers, and that its command is deterministic."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.catalog import load_problems
from tasks.checkpoints import inspect_checkpoint
from tasks.engines import Finish
from tasks.grading import grade
from tasks.schema import Status
from tasks.settings import load_settings
from trainer.__main__ import RECIPES
from trainer.pretrain import PretrainConfig, character_tokenizer, pretrain, worked_addition


@pytest.mark.parametrize("task", ["add2", "add3"])
def test_worked_answers_are_right_and_fit(task: str) -> None:
    tokenizer = character_tokenizer()
    for problem in load_problems(task, "train")[:500]:
        answer = worked_addition(problem.question)
        assert grade(answer, problem.gold, Finish.STOP).status is Status.CORRECT
        assert tokenizer.decode(tokenizer.encode(answer)) == answer
        assert len(answer) + 1 <= (16 if task == "add2" else 20)  # with its end token, below the task's limit


def test_pretraining_depends_on_its_seed_alone(tmp_path: Path) -> None:
    plan = load_settings(PretrainConfig, RECIPES / "pretrain.toml", ["steps=2", "batch_size=4"])
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain(plan.model_copy(update={"seed": seed}), tmp_path / name)
    a, b, c = (inspect_checkpoint(tmp_path / name).weights_hash for name in "abc")
    assert a == b != c
