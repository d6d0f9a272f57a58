"""A callback that lets a transformers Trainer take one step at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transformers.trainer_callback import TrainerCallback

if TYPE_CHECKING:
    from trainer.peers.trl_recipe import StepRecord


class Ended(Exception):
    """There will be no further step."""


class HeldSteps(TrainerCallback):  # type: ignore[misc]
    """Wait before every step, and tell afterwards how long it took."""

    def __init__(
        self, record: StepRecord, wait: Callable[[], bool], stepped: Callable[[dict[str, float]], None]
    ) -> None:
        self.record, self.wait, self.stepped = record, wait, stepped
        self.started, self.tokens = 0.0, 0

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Wait; decoding happens inside the step."""
        if not self.wait():
            raise Ended
        self.started = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Answer."""
        step_s = time.perf_counter() - self.started
        rollout_s, grade_s = self.record.rollout_s, self.record.grade_s
        tokens = self.record.tokens - self.tokens
        self.tokens = self.record.tokens
        self.stepped(
            {
                "rollout_s": rollout_s,
                "grade_s": grade_s,
                "update_s": step_s - rollout_s - grade_s,
                "step_s": step_s,
                "tokens": tokens,
            }
        )
