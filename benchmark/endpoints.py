"""What a comparison is judged by, declared before it runs: the `[endpoints]` table of a suite file."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

import pandas as pd
from pydantic import Field, field_validator, model_validator

from tasks.errors import UserError
from tasks.settings import Settings

Axis = Literal["steps", "tokens", "seconds"]
"""Optimizer steps; completion tokens generated in training; seconds of training without scoring."""

MACRO = "macro_mean"
"""The task name of the mean over all tasks, every task with the same weight; no real task may have it."""

FRACTIONS = (0.25, 0.5, 0.75)
"""Of a frozen gain, where a suite gives `reference` for a task and not `levels`."""


class Reference(Settings):
    """A gain that some earlier run had, frozen as numbers: levels are base + 25, 50 and 75 % of it."""

    base: float = Field(ge=0, le=1, allow_inf_nan=False)
    """Accuracy of the untrained policy."""
    gain: float = Field(gt=0, le=1, allow_inf_nan=False)
    """How much it rose."""


class Endpoints(Settings):
    """The endpoints of a suite; `digest()` is the `endpoints` column of its rows.

    Accuracies and the margin are fractions in [0, 1]: 0.03 is 3 points.
    """

    primary: Literal["auc", "final", "peak", "last3"] = "auc"
    """What the one primary comparison reads, on the mean over tasks."""
    primary_axis: Axis = "steps"
    """Of `auc` and `final`; the other two have steps only."""
    axes: list[Axis] = Field(default=["steps", "tokens", "seconds"], min_length=1)
    """What arms are matched by."""
    levels: dict[str, list[float]] = Field(default_factory=dict)
    """Per task (or macro_mean): accuracies whose first crossing is timed, rising."""
    reference: dict[str, Reference] = Field(default_factory=dict)
    """Per task without `levels`: a frozen gain that levels are taken from."""
    horizon: dict[Axis, float] = Field(default_factory=dict)
    """Where areas and restricted times end; without one, at the smallest last value of all runs."""
    margin: float = Field(default=0.03, gt=0, lt=1)
    """Two arms are equivalent when their difference is shown to be smaller than this."""
    speed_margin: float = Field(default=1.25, gt=1, allow_inf_nan=False)
    """And two speeds when their ratio is shown to lie between 1 / this and this."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Level of every test; intervals cover 1 - alpha."""
    min_pairs: int = Field(default=5, ge=5)
    """With fewer pairs of seeds an interval is shown and nothing is concluded."""

    @field_validator("levels")
    @classmethod
    def _rising(cls, levels: dict[str, list[float]]) -> dict[str, list[float]]:
        for task, of_task in levels.items():
            rising = all(low < high for low, high in pairwise(of_task))
            if not of_task or not rising or not all(0 < level <= 1 for level in of_task):
                raise ValueError(f"levels of {task!r} are {of_task}: want accuracies in (0, 1], rising")
        return levels

    @field_validator("horizon")
    @classmethod
    def _finite(cls, horizon: dict[Axis, float]) -> dict[Axis, float]:
        for axis, end in horizon.items():
            if not 0 < end < float("inf"):
                raise ValueError(f"the end of {axis} is {end}: want a positive number")
        return horizon

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for task in sorted(self.levels.keys() & self.reference.keys()):
            raise ValueError(f"{task!r} has both levels and a reference; keep one of them")
        for task, one in self.reference.items():
            if one.base + max(FRACTIONS) * one.gain > 1:
                raise ValueError(f"reference.{task}: base {one.base} and gain {one.gain} lead above 1")
        if len(set(self.axes)) != len(self.axes):
            raise ValueError(f"axes={self.axes}: name each once")
        if self.primary_axis not in self.axes:
            raise ValueError(f"primary_axis={self.primary_axis!r} is not in axes={self.axes}; add it there")
        if self.primary in ("peak", "last3") and self.primary_axis != "steps":
            raise ValueError(f"primary={self.primary!r} has no axis {self.primary_axis!r}; use 'steps'")
        return self

    def levels_of(self, task: str) -> tuple[float, ...]:
        """Return the levels of a task, rising; none where the suite declares none.

        >>> Endpoints(reference={"sums": {"base": 0.25, "gain": 0.5}}).levels_of("sums")
        (0.375, 0.5, 0.625)
        >>> Endpoints().levels_of("sums")
        ()
        """
        if task in self.reference:
            one = self.reference[task]
            return tuple(one.base + share * one.gain for share in FRACTIONS)
        return tuple(self.levels.get(task, ()))

    def named_tasks(self) -> set[str]:
        """Return every real task that levels are declared for."""
        return (self.levels.keys() | self.reference.keys()) - {MACRO}


def check_endpoints(frame: pd.DataFrame, endpoints: Endpoints) -> None:
    """Refuse rows that were made under other endpoints: what is judged may not change after the fact.

    Rows older than the column carry none and say nothing either way.

    Raises:
        UserError: a digest other than that of `endpoints`, or digests of two kinds.
    """
    if "endpoints" not in frame:
        return
    found = sorted({str(one) for one in frame["endpoints"].fillna("")})
    ours = endpoints.digest()
    if found not in ([], [""], [ours]):
        shown = ", ".join(one[:12] or "none" for one in found)
        raise UserError(
            f"column 'endpoints': rows made under {shown}, the suite declares {ours[:12]}; "
            "restore its [endpoints] table, or aggregate again into a new folder"
        )
