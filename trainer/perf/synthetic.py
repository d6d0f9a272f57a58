"""The update alone, on one group of synthetic ids: the same on both sides."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from tasks.asking import read_json
from tasks.engines import Completion, Finish
from tasks.schema import Grade, Problem, Status
from trainer.batch import build_batch
from trainer.config import TrainConfig
from trainer.peers.trl_grpo import TrlConfig
from trainer.perf.cases import Case
from trainer.policies import policy_folder
from trainer.rollouts import RolloutGroup
from trainer.update import update

Step = Callable[[], dict[str, float]]


def synthetic_group(case: Case, config: TrainConfig) -> tuple[RolloutGroup, list[Grade]]:
    """Make one group of full length; completions share the prompt and nothing else, every second is right."""
    rng = np.random.default_rng(0)
    size = read_json(policy_folder(config.policy) / "config.json")["vocab_size"]
    low, high = size // 2, size  # the special tokens stand at the beginning
    prompt = tuple(rng.integers(low, high, size=case.prompt_tokens).tolist())
    completions = [
        Completion(
            tokens=tuple(rng.integers(low, high, size=config.max_new_tokens).tolist()),
            logprobs=(0.0,) * config.max_new_tokens,
            finish=Finish.LENGTH,
        )
        for _ in range(config.group_size)
    ]
    grades = [
        Grade(status=Status.CORRECT if member % 2 else Status.WRONG, answer=None)
        for member in range(config.group_size)
    ]
    problem = Problem(id="synthetic/0", question="", gold="")
    return RolloutGroup(problem=problem, prompt=prompt, completions=completions), grades


def our_update(
    case: Case, config: TrainConfig, model: PreTrainedModel, optimizer: torch.optim.Optimizer
) -> Step:
    """Return our update on the synthetic group."""
    group, grades = synthetic_group(case, config)
    batch = build_batch([group], [grades], config, step=1)

    def step() -> dict[str, float]:
        started = time.perf_counter()
        update(model, None, optimizer, batch, config)
        return _timings(started, config)

    return step


def trl_update(case: Case, config: TrlConfig) -> Step:
    """Return TRL's `_compute_loss`, backward, gradient clip and optimizer step on the same ids."""
    from trainer.peers.trl_recipe import open_trainer

    group, grades = synthetic_group(case, config)
    given = {
        "prompt_ids": [list(group.prompt)] * config.group_size,
        "completion_ids": [list(completion.tokens) for completion in group.completions],
        "logprobs": None,
    }
    folder = policy_folder(config.policy)
    trainer = open_trainer(config, folder, rollout_func=lambda prompts, trainer: dict(given))
    trainer.reward_funcs = [lambda **_: [grade.score for grade in grades]]
    model, optimizer = trainer.model.train(), trainer.optimizer
    trainer.current_gradient_accumulation_steps = parts = config.group_size // config.micro_batch
    rows = trainer._generate_and_score_completions([trainer.train_dataset[0]] * config.group_size)
    batches = [_part(rows, index, config.micro_batch) for index in range(parts)]

    def step() -> dict[str, float]:
        started = time.perf_counter()
        for batch in batches:
            trainer.accelerator.backward(trainer._compute_loss(model, batch))
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        return _timings(started, config)

    return step


def _part(rows: dict[str, Any], index: int, size: int) -> dict[str, Any]:
    cut = slice(index * size, (index + 1) * size)
    return {name: value[cut] if value.ndim else value for name, value in rows.items()}


def _timings(started: float, config: TrainConfig) -> dict[str, float]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return {"update_s": seconds, "step_s": seconds, "tokens": config.group_size * config.max_new_tokens}
