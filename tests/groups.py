"""Made-up rollout groups over a small vocabulary, so that prefixes are shared, with rewards of both kinds."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.engines import Completion, Finish
from tasks.schema import Grade, Problem, Status
from trainer.batch import Batch, build_batch
from trainer.config import TrainConfig
from trainer.rollouts import RolloutGroup

CONFIG = TrainConfig(
    policy="embedded",
    task="add2",
    steps=1,
    problems_per_step=2,
    group_size=4,
    max_new_tokens=8,
    learning_rate=0.0,
    micro_batch=8,
    checkpoint_every=1,
    gradient_clip=1e9,
)


def make_config(**fields: Any) -> TrainConfig:
    """One small run; every field can be set."""
    return TrainConfig.model_validate(CONFIG.model_dump() | fields)


def make_groups(
    seed: int, *, groups: int = 2, members: int = 4, limit: int = 8, words: int = 2
) -> tuple[list[RolloutGroup], list[list[Grade]]]:
    """Return groups and their grades: prompts of several lengths, completions of 1 to `limit` tokens.

    A completion of `limit` tokens counts as cut off. Every group has both rewards.
    """
    rng = np.random.default_rng(seed)
    made, grades = [], []
    for number in range(groups):
        prompt = tuple(rng.integers(3, 15, size=rng.integers(2, 6)).tolist())
        completions = []
        for _ in range(members):
            size = int(rng.integers(1, limit + 1))
            completions.append(
                Completion(
                    tokens=tuple(rng.integers(3, 3 + words, size=size).tolist()),
                    logprobs=tuple(rng.uniform(-3, 0, size=size).tolist()),
                    finish=Finish.LENGTH if size == limit else Finish.STOP,
                )
            )
        problem = Problem(id=f"made/{number}", question="?", gold="1")
        made.append(RolloutGroup(problem=problem, prompt=prompt, completions=completions))
        right = rng.permutation(members) < rng.integers(1, members)
        grades.append([Grade(status=Status.CORRECT if r else Status.WRONG, answer="1") for r in right])
    return made, grades


def make_batch(seed: int, config: TrainConfig = CONFIG, **shape: int) -> Batch:
    """Build the batch of made-up groups."""
    return build_batch(*make_groups(seed, **shape), config, step=1)
