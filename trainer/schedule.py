"""The learning rate as a function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from trainer.config import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of optimizer step `step`, counted from 1.

    It rises linearly over `warmup_steps`, reaches `learning_rate` on the last of them, and from there goes
    down to `learning_rate_end` on the last step, in a straight line or half a cosine; or it stays.

    >>> from trainer.config import TrainConfig
    >>> keys = dict(policy="embedded", task="add2", problems_per_step=1, group_size=2, max_new_tokens=4)
    >>> plan = dict(steps=6, warmup_steps=2, learning_rate=1.0, schedule="linear", micro_batch=1)
    >>> config = TrainConfig(**keys, **plan, checkpoint_every=1)
    >>> [learning_rate(config, step) for step in range(1, 7)]
    [0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    if step < config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    start = max(config.warmup_steps, 1)
    progress = (step - start) / max(config.steps - start, 1)
    left = 1 - progress if config.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return config.learning_rate_end + (config.learning_rate - config.learning_rate_end) * left
