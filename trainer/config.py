"""Everything that changes the numbers of one training run, and nothing else."""

from __future__ import annotations

from math import gcd
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.catalog import find_task
from tasks.engines import Dtype, EngineName
from tasks.errors import closest
from tasks.settings import Settings
from trainer.arms import ARMS


class TrainConfig(Settings):
    """One run of one arm; the sha256 of its sorted JSON is the `config_hash` of every result row."""

    policy: str
    """The starting policy: a shipped name (trainer/policies.py) or a local HF folder."""
    task: str
    """Problems come from its train split."""
    arm: str = "lambda_grpo"
    """How tokens are weighted: a name in trainer/arms.py."""
    seed: int = Field(default=0, ge=0)
    """Decides the order of problems and every rollout."""
    steps: int = Field(gt=0)
    """Optimizer steps."""
    problems_per_step: int = Field(gt=0)
    """Groups of one optimizer step."""
    group_size: int = Field(ge=2)
    """G, completions per problem: the unit of the advantage and of the process tree."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the rollouts; the update takes log-probabilities at the same temperature."""
    max_new_tokens: int = Field(gt=0)
    """Longest rollout, end-of-sequence token included."""
    max_prompt_tokens: int = Field(default=512, gt=0)
    """Problems with a longer prompt are left out, as are those that the policy has no positions for; a line
    at the start counts them."""
    learning_rate: float = Field(ge=0)
    """Of AdamW, at its highest; 0 is a probe that must leave the weights alone."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate goes down after the warm-up."""
    learning_rate_end: float = Field(default=0.0, ge=0)
    """On the last step of a linear or cosine schedule."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the whole gradient."""
    kl_beta: float = Field(default=0.0, ge=0)
    """β of the KL term against the starting policy; 0 keeps no second model."""
    updates_per_batch: int = Field(default=1, gt=0)
    """µ, optimizer steps on the same rollouts."""
    clip_low: float = Field(default=0.2, gt=0, le=1)
    """ε_low: the ratio is clipped to [1 - ε_low, 1 + ε_high]. With one update per batch it is 1 and nothing
    is."""
    clip_high: float = Field(default=0.2, gt=0)
    """ε_high."""
    importance_cap: float | None = Field(default=None, gt=0)
    """Multiplies the policy term by min(π_trainer/π_rollout, cap): for rollouts in another precision than the
    update. None leaves it out; the ratio is logged either way."""
    truncated: Literal["kept", "masked"] = "kept"
    """Masked completions that hit the token limit weigh nothing; they still count in |λ| and in the mean
    reward."""
    equal_reward_groups: Literal["kept", "dropped"] = "kept"
    """Groups whose known rewards are equal: kept they count in the normaliser (and feel the KL term)."""
    forward: Literal["auto", "padded", "tree"] = "auto"
    """How the update runs the model: each row by itself, or each distinct prefix once (trainer/packing.py).
    The gradient is the same; auto takes what costs less for each micro-batch."""
    micro_batch: int = Field(gt=0)
    """Completions per forward and backward pass: memory only, the gradient stays the same."""
    checkpoint_every: int = Field(gt=0)
    """Steps between checkpoints; step 0 and the last step are always kept."""
    engine: EngineName = "auto"
    """What decodes the rollouts."""
    dtype: Dtype = "float32"
    """Of the rollout engine."""
    update_dtype: Dtype = "float32"
    """Of the forward and backward pass (autocast); weights, gradients and optimizer keep `weight_dtype`."""
    weight_dtype: Dtype = "float32"
    """Of the trained weights and their optimizer; "bfloat16" halves the memory and loses small updates."""
    activation_checkpointing: bool = False
    """Keep one state per layer and compute the rest again: less memory, about a third more time, same
    gradient."""
    lora_rank: int = Field(default=0, ge=0)
    """Rank of low-rank adapters (peft) on every linear layer; 0 trains all weights. Checkpoints hold merged
    weights."""
    lora_alpha: float = Field(default=16.0, gt=0)
    """The adapters count alpha / rank."""
    threads: int = Field(default=1, gt=0)
    """CPU threads; part of the numbers, since sums are split over them."""
    record_rollouts: bool = False
    """Keep every step's rollouts in RUN/rollouts. No number changes, but what a run folder holds does: as a
    setting, a resume cannot leave a gap."""
    replay: str | None = None
    """RUN/rollouts of a recording run, whose groups and rewards are used instead of sampling."""

    @field_validator("arm")
    @classmethod
    def _known_arm(cls, arm: str) -> str:
        if arm not in ARMS:
            raise ValueError(f"there is no such arm; {closest(arm, ARMS)}")
        return arm

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: str) -> str:
        find_task(task)
        return task

    @model_validator(mode="after")
    def _whole_checkpoints(self) -> Self:
        if self.steps % self.checkpoint_every:
            raise ValueError(
                f"steps={self.steps} is no multiple of checkpoint_every={self.checkpoint_every}; make it "
                f"one, or --set checkpoint_every={gcd(self.steps, self.checkpoint_every)}, so that every run "
                "ends at the same checkpoint"
            )
        return self
