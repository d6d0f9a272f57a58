"""Forest plots: one effect with its interval a line, with the numbers, n and MDE written beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from benchmark.plots.style import CHARACTER_INCHES, GREY, ArmStyle, save, short
from benchmark.stats import Interval

LINE_INCHES = 0.27
PLOT_INCHES = 3.6
SMALL = 8.5
FEW, MANY = (1, 2, 5), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
"""Ticks of a ratio within each power of ten."""
SEPARATE = 1.4
"""Lines between two tasks, the heading included."""


@dataclass(frozen=True)
class Effect:
    """One line of a forest plot."""

    task: str
    arm: str
    interval: Interval | None
    """None: there is none at all; the first cell says why."""
    cells: tuple[str, ...]
    """The numbers, written at the right under the headings."""
    shown: bool
    """Whether the effect differs from nothing after correction: its marker is filled."""


@dataclass(frozen=True)
class Scale:
    """What the x axis of a forest plot is."""

    label: str
    nothing: float
    """Where there is no effect: 0 for a difference, 1 for a ratio."""
    log: bool = False
    percent: bool = False


def draw_forest(
    effects: Sequence[Effect],
    styles: dict[str, ArmStyle],
    stem: Path,
    *,
    title: str,
    scale: Scale,
    header: tuple[str, ...],
) -> list[Path]:
    """Draw effects grouped by task; nothing is drawn where there is no effect at all.

    Args:
        effects: in the order of drawing, tasks together.
        styles: of every arm.
        stem: the files are STEM.png and STEM.svg.
        title: of the figure.
        scale: of the x axis.
        header: above the numbers at the right, one per cell.
    """
    if not effects:
        return []
    place, headings, height = _places(effects)
    left = CHARACTER_INCHES * max(len(short(name)) for one in effects for name in (one.arm, one.task)) + 0.45
    columns = [*zip(*(one.cells for one in effects), strict=True)]
    widths = [
        CHARACTER_INCHES * max(len(cell) for cell in (heading, *cells)) + 0.22
        for heading, cells in zip(header, columns, strict=True)
    ]
    top, bottom = 0.42, 0.55
    inches = (left + PLOT_INCHES + sum(widths) + 0.15, top + bottom + LINE_INCHES * height)
    figure = Figure(figsize=inches)
    axes = figure.add_axes(
        (left / inches[0], bottom / inches[1], PLOT_INCHES / inches[0], LINE_INCHES * height / inches[1])
    )
    _frame(axes, effects, scale, height)
    offsets = [0.15 + sum(widths[:at]) for at in range(len(widths))]
    for at, one in zip(place, effects, strict=True):
        _effect(axes, at, one, styles[one.arm])
        _beside(axes, (0, at), short(one.arm), -0.12, ha="right")
        for cell, offset in zip(one.cells, offsets, strict=True):
            _beside(axes, (1, at), cell, offset)
    for heading, offset in zip(header, offsets, strict=True):
        _beside(axes, (1, headings[0][0]), heading, offset, color=GREY)
    for at, task in headings:
        _beside(axes, (0, at), short(task), 0.1 - left, fontweight="bold")
    figure.text(0.1 / inches[0], 1 - 0.12 / inches[1], title, fontsize=10, va="top")
    return save(figure, stem)


def _places(effects: Sequence[Effect]) -> tuple[list[float], list[tuple[float, str]], float]:
    """Return where every effect and of every task's heading, from the top, and the total."""
    place, headings, at = [], [], -0.2
    for number, one in enumerate(effects):
        if number == 0 or one.task != effects[number - 1].task:
            at += SEPARATE if number else 1
            headings.append((at - 0.1, one.task))
        at += 1
        place.append(at)
    return place, headings, at + 0.8


def _frame(axes: Axes, effects: Sequence[Effect], scale: Scale, height: float) -> None:
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.axvline(scale.nothing, color=GREY, linewidth=1, zorder=1)
    axes.tick_params(labelsize=SMALL)
    axes.set_xlabel(scale.label, fontsize=9)
    found = [one.interval for one in effects if one.interval is not None]
    ends = [x for i in found for x in (i.mean, i.low, i.high) if x is not None] + [scale.nothing]
    low, high = min(ends), max(ends)
    if scale.log:
        axes.set_xscale("log")
        axes.set_xlim(min(low / 1.08, 0.8), max(high * 1.08, 1.25))
        axes.xaxis.set_major_locator(LogLocator(subs=FEW if high > 8 * low else MANY))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        return
    margin = 0.06 * (high - low) or 0.01
    axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    factor = 100 if scale.percent else 1
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{round(factor * value, 6):+g}" if value else "0")
    )


def _effect(axes: Axes, at: float, one: Effect, style: ArmStyle) -> None:
    if one.interval is None:
        return
    low, high = one.interval.low, one.interval.high
    if low is not None and high is not None:
        axes.plot([low, high], [at, at], color=style.colour, linewidth=1.8, solid_capstyle="butt", zorder=2)
        axes.plot([low, high], [at, at], color=style.colour, linestyle="", marker="|", markersize=7, zorder=2)
    axes.plot(
        [one.interval.mean], [at], color=style.colour, marker=style.marker, markersize=6.5, linestyle="",
        markerfacecolor=style.colour if one.shown else "white", markeredgewidth=1.4, zorder=3,
    )  # fmt: skip


def _beside(axes: Axes, at: tuple[float, float], text: str, offset: float, **looks: Any) -> None:
    """Write a text so many inches beside the plot, at a height in data units."""
    axes.annotate(
        text,
        at,
        (72 * offset, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
        **{"fontsize": SMALL, **looks},
    )
