"""Invariants of a sound training run, read from its metrics.jsonl (docs/metrics.md has the names).

Each limit is that of docs/metrics.md. A value that cannot occur in a sound run fails a candidate whatever its
accuracy: a trainer whose loss is not the sum it should be may learn well for a while.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Line = Mapping[str, Any]
Config = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Break:
    """An invariant that does not hold."""

    name: str
    seed: int
    step: int
    value: float | None
    """None: not a number, or not logged."""
    rule: str

    def __str__(self) -> str:
        """Name, place, value, rule."""
        shown = "not a number" if self.value is None else f"{self.value:.4g}"
        return f"{self.name} at step {self.step} of seed {self.seed} is {shown}, want {self.rule}"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What one metric has to keep to in every step."""

    name: str
    low: float = -math.inf
    high: float = math.inf
    applies: Callable[[Config], bool] = lambda config: True

    def rule(self) -> str:
        """Say the range."""
        if self.low == self.high:
            return f"{self.low:g}"
        parts = [f">= {self.low:g}"] if self.low > -math.inf else []
        return " and ".join(parts + ([f"<= {self.high:g}"] if self.high < math.inf else []))


def _float32(config: Config) -> bool:
    return all(config.get(key, "float32") == "float32" for key in ("dtype", "weight_dtype", "update_dtype"))


def _one_update(config: Config) -> bool:
    return bool(config.get("updates_per_batch", 1) == 1)


ROUNDING = 1e-6
LIMITS = (
    Limit(name="check/grpo_identity", high=1e-6),
    Limit(name="check/lambda_identity", high=1e-6),
    Limit(name="check/loss", high=1e-5),
    Limit(name="check/rollout_logprob_gap", high=1e-3, applies=_float32),
    Limit(name="check/rollout_logprob_gap_mean", high=0.05),
    Limit(name="check/prefix_disagreement", high=1e-4, applies=_float32),
    Limit(name="check/weight_sync_gap", high=1e-3, applies=_float32),
    Limit(name="importance/mean", low=0.99, high=1.01),
    Limit(name="kl", low=-ROUNDING),
    Limit(name="entropy", low=-ROUNDING),
    Limit(name="normaliser", low=0.0),
    Limit(name="ratio/min", low=1 - ROUNDING, high=1 + ROUNDING, applies=_one_update),
    Limit(name="ratio/max", low=1 - ROUNDING, high=1 + ROUNDING, applies=_one_update),
    Limit(name="clip/low", low=0.0, high=0.0, applies=_one_update),
    Limit(name="clip/high", low=0.0, high=0.0, applies=_one_update),
    Limit(name="reward/known", low=0.995, high=1.0),
    Limit(name="loss"),
    Limit(name="gradient_norm", low=0.0),
)
"""A metric without bounds has to be a finite number all the same."""


def first_break(
    lines: Sequence[Line], config: Config, seed: int, expected: Iterable[str] = ()
) -> Break | None:
    """Return the earliest step at which an invariant breaks, None for a sound run.

    Args:
        lines: of metrics.jsonl, one mapping per step.
        config: the run's resolved configuration; it decides which limits apply.
        seed: of the run, for the message.
        expected: names that have to be logged: those that the baseline's runs log. A trainer that we did not
            write may lack others.
    """
    expected = set(expected)
    tokens = 0
    for step, line in enumerate(lines, start=1):
        broken = _order(line, step, seed, tokens, expected) or _rates(line, config, step, seed)
        broken = broken or _limits(line, config, step, seed, expected)
        if broken is not None:
            return broken
        tokens = int(line.get("tokens", 0))
    return _complete(len(lines), config, seed)


def checked_names(lines: Sequence[Line]) -> list[str]:
    """Return the metrics with a limit that a run logs."""
    return sorted({limit.name for limit in LIMITS} & set(lines[0])) if lines else []


def _limits(line: Line, config: Config, step: int, seed: int, expected: set[str]) -> Break | None:
    for limit in LIMITS:
        if not limit.applies(config) or (limit.name not in line and limit.name not in expected):
            continue
        value = _number(line.get(limit.name))
        if value is None or not limit.low <= value <= limit.high:
            rule = limit.rule() or "a finite number"
            return Break(name=limit.name, seed=seed, step=step, value=value, rule=rule)
    return None


def _order(line: Line, step: int, seed: int, tokens: int, expected: set[str]) -> Break | None:
    """Every step is logged once, and its tokens add up."""
    if line.get("step") != step:
        return Break(name="step", seed=seed, step=step, value=_number(line.get("step")), rule=f"{step}")
    if "step_tokens" not in line and "step_tokens" not in expected:
        return None
    total, added = _number(line.get("tokens")), _number(line.get("step_tokens"))
    if total is None or added is None or added <= 0 or total != tokens + added:
        rule = f"{tokens} of before and the step's own, above 0"
        return Break(name="tokens", seed=seed, step=step, value=total, rule=rule)
    return None


def _rates(line: Line, config: Config, step: int, seed: int) -> Break | None:
    """What the log and the configuration both say has to agree."""
    rate = config.get("learning_rate")
    constant = config.get("schedule") == "constant" and not config.get("warmup_steps")
    if constant and rate is not None and "learning_rate" in line:
        value = _number(line["learning_rate"])
        if value is None or not math.isclose(value, rate, rel_tol=1e-9):
            rule = f"{rate:g} as configured"
            return Break(name="learning_rate", seed=seed, step=step, value=value, rule=rule)
    wanted = config.get("problems_per_step", 0) * config.get("group_size", 0)
    if wanted and _one_update(config) and {"step_tokens", "completion/mean_length"} <= line.keys():
        tokens, length = _number(line["step_tokens"]), _number(line["completion/mean_length"])
        count = tokens / length if tokens and length else None
        if count is None or not math.isclose(count, wanted, rel_tol=1e-9):
            rule = f"{wanted}: problems_per_step times group_size"
            return Break(name="completions", seed=seed, step=step, value=count, rule=rule)
    if "kl" in line and step == 1 and _one_update(config):
        value = _number(line["kl"])
        if value is None or abs(value) > ROUNDING:  # the policy is still its own reference
            return Break(name="kl", seed=seed, step=step, value=value, rule="0 before the first update")
    return None


def _complete(steps: int, config: Config, seed: int) -> Break | None:
    wanted = config.get("steps")
    if steps == 0 or (wanted is not None and steps != wanted):
        return Break(name="step", seed=seed, step=steps, value=float(steps), rule=f"{wanted} steps in all")
    return None


def _number(value: Any) -> float | None:
    """Return a finite float; JSON's null stands for NaN and infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
