"""The columns of the board and what stands in their cells; HTML, Markdown and CSV print the same cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmark.stats import Interval


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column and what it means."""

    key: str
    name: str
    note: str
    kind: Literal["number", "text"] = "number"
    first: Literal["ascending", "descending"] = "descending"
    """How the first click sorts."""
    keep: bool = False
    """Its text is not broken into lines."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands in a cell, or why nothing does."""

    text: str = ""
    sort: str = ""
    """A number, or a text in lower case; "" sorts last."""
    range: str = ""
    """An interval, in brackets."""
    lines: tuple[str, ...] = ()
    badge: str = ""
    reason: str = ""
    """Why there is no value; then nothing else is set."""
    note: str = ""
    """What limits the value, such as runs that never got there."""

    @property
    def why(self) -> str:
        """Why the value is missing, or what limits it."""
        return self.reason or self.note

    @property
    def plain(self) -> str:
        """The cell as one line of text."""
        if self.reason:
            return "–"
        return "; ".join(self.lines) if self.lines else " ".join(filter(None, [self.text, self.range]))


COLUMNS = (
    Column(
        key="tied",
        name="tied set",
        kind="text",
        first="ascending",
        keep=True,
        note="best: the best mean of the primary endpoint; tied: not significantly different from it after "
        "Holm; "
        "below: significantly worse",
    ),
    Column(
        key="algorithm",
        name="algorithm",
        kind="text",
        first="ascending",
        note="arm of an entry; opens curves, tasks and provenance",
    ),
    Column(
        key="model",
        name="base model",
        kind="text",
        first="ascending",
        note="the policy that training starts from",
    ),
    Column(
        key="auc",
        name="AUC",
        note="area under the curve: mean height of test accuracy over steps, mean over tasks",
    ),
    Column(
        key="steps",
        name="steps to top level",
        first="ascending",
        note="optimizer steps until the highest declared level (base + 75 % of the frozen reference gain "
        "where "
        "a suite gives one), mean over seeds; > where some or all seeds never get there",
    ),
    Column(
        key="tokens",
        name="tokens to top level",
        first="ascending",
        note="the same in completion tokens generated in training",
    ),
    Column(
        key="speed",
        name="speed ratio",
        note="how many times as fast as the entry's baseline, in steps: geometric mean over levels and seeds",
    ),
    Column(
        key="peak",
        name="peak on test",
        note="test accuracy at the checkpoint that validation chooses, mean over tasks",
    ),
    Column(key="final", name="final", note="test accuracy at the last step, mean over tasks"),
    Column(
        key="tasks",
        name="per task",
        kind="text",
        first="ascending",
        keep=True,
        note="peak on test, task by task",
    ),
    Column(key="seeds", name="seeds", note="training seeds: the unit of inference"),
    Column(key="samples", name="samples", note="test completions of the arm's trained checkpoints"),
    Column(
        key="truncated",
        name="trunc.",
        first="ascending",
        note="truncated: share of those that the token limit cut off",
    ),
    Column(key="extracted", name="extr.", note="extracted: share of those in which an answer was found"),
    Column(key="hardware", name="hardware", kind="text", first="ascending", note="as the entry declares it"),
    Column(key="level", name="verified", keep=True, note="declared, re-scored, re-evaluated or reproduced"),
)


def missing(reason: str) -> Cell:
    """Return the cell of a value that does not exist."""
    return Cell(reason=reason)


def words(text: str, badge: str = "") -> Cell:
    """Return a cell of text."""
    return Cell(text=text, sort=text.lower(), badge=badge)


def count(number: int) -> Cell:
    """Return a cell with a whole number.

    >>> count(49152).text
    '49 152'
    """
    return Cell(text=f"{number:,}".replace(",", " "), sort=str(number))


def share(part: int, whole: int) -> Cell:
    """Return a cell with a percentage of completions."""
    if not whole:
        return missing("no completions")
    return Cell(text=f"{100 * part / whole:.1f} %", sort=f"{part / whole:.6f}")


def percent(interval: Interval | None, why_not: str) -> Cell:
    """Return a cell with an accuracy in percent and its interval.

    >>> percent(Interval(0.6631, 0.652, 0.675, 6), "").plain
    '66.3 % [65.2, 67.5]'
    >>> percent(Interval(0.5, None, None, 6), "").plain
    '50.0 % [no interval: 6 equal values]'
    """
    if interval is None:
        return missing(why_not)
    text = f"{100 * interval.mean:.1f} %"
    if interval.low is None or interval.high is None:
        why = "1 seed" if interval.n < 2 else f"{interval.n} equal values"
        return Cell(text=text, sort=f"{interval.mean:.9f}", range=f"[no interval: {why}]")
    bounds = f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    return Cell(text=text, sort=f"{interval.mean:.9f}", range=bounds)


BOUNDS = {"": "", "at most": "≤ ", "at least": "≥ ", "neither": "≷ "}


def ratio(interval: Interval | None, why: str, bound: str = "") -> Cell:
    """Return a cell with a ratio or a bound of one, its interval and a note; else `why` there is none."""
    if interval is None:
        return missing(why)
    bounds = (
        "" if interval.low is None or interval.high is None else f"[{interval.low:.2f}, {interval.high:.2f}]"
    )
    return Cell(
        text=f"{BOUNDS[bound]}{interval.mean:.2f} ×", sort=f"{interval.mean:.9f}", range=bounds, note=why
    )
