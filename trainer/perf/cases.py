"""What is timed: one recipe, given to both sides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tasks.settings import apply_override, build_settings, read_toml
from trainer.__main__ import RECIPES
from trainer.config import TrainConfig
from trainer.peers.trl_grpo import TrlConfig, check_honoured

FIXED = {"arm": "grpo", "steps": 1_000_000, "checkpoint_every": 1_000_000, "learning_rate": 0.0}
"""Of every case. The learning rate is 0, so that both sides decode with the same policy in every step; the
optimizer does its whole work all the same."""

BFLOAT16 = {"dtype": "bfloat16", "update_dtype": "bfloat16"}
SMOLLM2 = {
    "problems_per_step": 4,
    "group_size": 8,
    "max_new_tokens": 64,
    "engine": "transformers",
    **BFLOAT16,
}
"""The same step whatever decodes on our side."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison."""

    summary: str
    recipe: str
    """A name in trainer/recipes/."""
    changes: dict[str, Any]
    """Recipe keys of both sides."""
    our_changes: dict[str, Any]
    """Recipe keys of our side alone."""
    goal: float
    """Our step over TRL's: at most this."""
    prompt_tokens: int = 0
    """0: a whole step. Otherwise the update alone, on one synthetic group with a prompt of this length."""


CASES = {
    "embedded": Case(
        summary="whole step: embedded policy, 16 prompts x 16 completions",
        recipe="embedded",
        changes={"problems_per_step": 16, "group_size": 16, "engine": "transformers"},
        our_changes={},
        goal=0.35,
    ),
    "smollm2": Case(
        summary="whole step: SmolLM2-135M, 4 prompts x 8 completions x 64 new tokens, transformers rollouts",
        recipe="smollm2",
        changes=SMOLLM2,
        our_changes={},
        goal=0.7,
    ),
    "smollm2_vllm": Case(
        summary="whole step: the same, our rollouts from vLLM where it imports",
        recipe="smollm2",
        changes=SMOLLM2,
        our_changes={"engine": "auto"},
        goal=0.4,
    ),
    "update": Case(
        summary="update alone: SmolLM2-135M, one group of 16, prompt of 200 tokens, 64 new tokens each",
        recipe="smollm2",
        changes={
            "problems_per_step": 1,
            "group_size": 16,
            "max_new_tokens": 64,
            "micro_batch": 16,
            "engine": "transformers",
            **BFLOAT16,
        },
        our_changes={},
        goal=0.4,
        prompt_tokens=200,
    ),
}


def our_config(case: Case, overrides: Iterable[str] = ()) -> TrainConfig:
    """Return what our trainer is given."""
    return build_settings(TrainConfig, _raw(case, case.our_changes, overrides), source=case.recipe)


def trl_config(case: Case, overrides: Iterable[str] = ()) -> TrlConfig:
    """Return what TRL is given.

    Raises:
        UserError: TRL cannot do what the case or an override asks.
    """
    config = build_settings(TrlConfig, _raw(case, {}, overrides), source=case.recipe)
    check_honoured(config)
    return config


def _raw(case: Case, changes: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    raw = {**read_toml(RECIPES / f"{case.recipe}.toml"), **FIXED, **case.changes, **changes}
    for text in overrides:
        apply_override(raw, text)
    return raw
