"""One learning curve as the coordinates of an SVG; the template draws it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from benchmark.stats import Interval, t_interval

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 300, 12, 198
APART = 13
"""Pixels between two names at the end of the lines."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A number beside an axis."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Paths of one task: the arm's seeds, their mean and band, and the baseline's mean."""

    title: str
    summary: str
    """What the picture shows, in words."""
    n: int
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    seeds: list[str]
    mean: str
    marks: list[tuple[float, float]]
    band: str
    other: str
    own_name: str
    other_name: str
    own_at: float
    other_at: float
    width: int = field(default=WIDTH, init=False)
    height: int = field(default=HEIGHT, init=False)
    left: int = field(default=LEFT, init=False)
    right: int = field(default=RIGHT, init=False)
    top: int = field(default=TOP, init=False)
    bottom: int = field(default=BOTTOM, init=False)


def draw_chart(task: str, curves: pd.DataFrame, arm: str, baseline: str, names: dict[str, str]) -> Chart:
    """Return the learning curve of an arm on a task.

    Args:
        task: names the picture.
        curves: of `learning_curves`, of this task.
        arm: whose curve it is.
        baseline: whose mean is drawn beside it, unless it is the arm itself.
        names: arm -> label.
    """
    own = curves[curves["arm"] == arm].pivot_table(index="step", columns="seed", values="test")
    step_k = [int(step) for step in own.index]
    intervals = [t_interval(own.loc[step].to_numpy()) for step in own.index]
    means = [one.mean for one in intervals]
    other = curves[curves["arm"] == baseline].groupby("step")["test"].mean() if arm != baseline else None
    top = _round_up(max(curves["test"].max(), 0.01))

    def x(step: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * step / max(step_k[-1], 1), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * min(max(value / top, 0), 1), 1)

    def path(values: Sequence[float]) -> str:
        return "M" + "L".join(f"{x(step)} {y(value)}" for step, value in zip(step_k, values, strict=True))

    own_at, other_at = _apart(y(means[-1]) + 4, None if other is None else y(float(other.iloc[-1])) + 4)
    return Chart(
        title=f"{names[arm]} on {task}",
        summary=_summary(step_k, means, other, names[baseline]),
        n=own.shape[1],
        x_ticks=[Tick(at=x(step), text=str(step)) for step in _some(step_k)],
        y_ticks=[Tick(at=y(top * part / 4), text=f"{100 * top * part / 4:.4g} %") for part in range(5)],
        seeds=[path(own[seed].to_list()) for seed in own.columns] if own.shape[1] > 1 else [],
        mean=path(means),
        marks=[(x(step), y(mean)) for step, mean in zip(step_k, means, strict=True)],
        band=_band(step_k, intervals, x, y) if own.shape[1] > 1 else "",
        other="" if other is None else path([float(value) for value in other]),
        own_name=_cut(names[arm]),
        other_name=_cut(names[baseline]),
        own_at=own_at,
        other_at=other_at,
    )


def _band(
    step_k: Sequence[int],
    interval_k: Sequence[Interval],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> str:
    """Return the outline between the bounds; a step without bounds, such as the shared step 0, is a point."""
    upper = [one.mean if one.high is None else one.high for one in interval_k]
    lower = [one.mean if one.low is None else one.low for one in interval_k]
    high = [f"{x(step)} {y(value)}" for step, value in zip(step_k, upper, strict=True)]
    low = [f"{x(step)} {y(value)}" for step, value in zip(step_k, lower, strict=True)]
    return "M" + "L".join([*high, *reversed(low)]) + "Z"


def _summary(step_k: list[int], means: list[float], other: pd.Series | None, baseline: str) -> str:
    text = f"Mean test accuracy goes from {means[0]:.1%} at step 0 to {means[-1]:.1%} at step {step_k[-1]}"
    if other is not None:
        text += f"; {baseline} ends at {float(other.iloc[-1]):.1%}"
    return text + "."


def _apart(own: float, other: float | None) -> tuple[float, float]:
    """Move two names apart that would lie on each other."""
    if other is None or abs(own - other) >= APART:
        return own, other or 0.0
    middle = min((own + other) / 2, BOTTOM - APART)
    first = round(middle - APART / 2)
    second = first + APART
    return (first, second) if own <= other else (second, first)


def _some(step_k: list[int]) -> list[int]:
    """Return about five of the steps, first and last among them."""
    every = math.ceil((len(step_k) - 1) / 4) or 1
    chosen = [step for at, step in enumerate(step_k[:-1]) if at % every == 0]
    if len(chosen) > 1 and step_k[-1] - chosen[-1] < 0.12 * step_k[-1]:
        chosen.pop()
    return [*chosen, step_k[-1]]


def _round_up(value: float) -> float:
    """Return the next round accuracy.

    >>> _round_up(0.663), _round_up(0.085), _round_up(0.97)
    (0.8, 0.1, 1.0)
    """
    return next(top for top in (0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if value <= top or top == 1.0)


def _cut(name: str) -> str:
    return name if len(name) <= 20 else name[:19] + "…"
