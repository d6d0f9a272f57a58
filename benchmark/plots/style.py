"""How every picture looks: arms told apart without colour, sizes for a paper, the same bytes each time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette without its yellow, which is too light for a line on white."""
LineType = Literal["-", "--", "-."] | tuple[float, tuple[float, ...]]
LINES: tuple[LineType, ...] = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PNG_DPI = 150
PANEL_INCHES = (4.6, 3.1)
PANELS_PER_ROW = 3
GREY = "0.35"
CHARACTER_INCHES = 0.068
"""Of the legend's font, about."""
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "handlelength": 3.2, "columnspacing": 1.6}
LONGEST = 44
"""Characters of a name in a title or at an axis; a longer one is cut in the middle."""


@dataclass(frozen=True)
class ArmStyle:
    """How one arm is drawn; line and marker alone tell the arms apart."""

    colour: str
    line: LineType
    marker: str


def arm_styles(arms: Iterable[str], baseline: str) -> dict[str, ArmStyle]:
    """Give every arm a style; the baseline comes first and has the first one."""
    ordered = sorted(set(arms), key=lambda arm: (arm != baseline, arm))
    return {arm: style(number) for number, arm in enumerate(ordered)}


def style(number: int) -> ArmStyle:
    """Return the style of the arm at a place of the order."""
    return ArmStyle(
        COLOURS[number % len(COLOURS)], LINES[number % len(LINES)], MARKERS[number % len(MARKERS)]
    )


def key(arm: str, style: ArmStyle) -> Line2D:
    """Return what stands for an arm in a legend."""
    return Line2D(
        [], [], color=style.colour, linestyle=style.line, marker=style.marker, markersize=5, label=short(arm)
    )


def panels(
    count: int, handles: Sequence[Artist], height: float = PANEL_INCHES[1]
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels in rows, and its legend below them."""
    columns = min(count, PANELS_PER_ROW)
    rows = math.ceil(count / columns)
    width = PANEL_INCHES[0] * columns
    longest = max((len(str(handle.get_label())) for handle in handles), default=1)
    across = max(1, min(len(handles), int(width / (0.67 + CHARACTER_INCHES * longest))))
    legend_rows = math.ceil(len(handles) / across)
    figure = Figure(figsize=(width, height * rows + 0.25 + 0.19 * legend_rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.remove()
    if handles:
        across = math.ceil(len(handles) / legend_rows)
        figure.legend(handles=list(handles), loc="outside lower center", ncols=across, **LEGEND)
    return figure, axes[:count]


def dress(axes: Axes) -> None:
    """Give a panel the looks that all share."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5)
    axes.margins(x=0.02)


def shares(axes: Axes) -> None:
    """Write a panel's y axis in percent and keep it inside what a share can be."""
    low, high = axes.get_ylim()  # a t band of few seeds can leave the range that a share has
    axes.set_ylim(max(low, -0.02), min(high, 1.02))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(100 * value, 6):g} %"))


def counts_along(axes: Axes, label: str) -> None:
    """Write a panel's x axis in whole numbers, 20k and 3M for large ones."""
    axes.set_xlabel(label, fontsize=9.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))


def count_text(value: float) -> str:
    """Write a large count briefly.

    >>> [count_text(number) for number in (64, 1500, 20000, 2.5e6, 3e9)]
    ['64', '1500', '20k', '2.5M', '3G']
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:g}"


def short(name: str, longest: int = LONGEST) -> str:
    """Cut a long name in the middle; `$` would begin a formula.

    >>> short("abcdefghij", 7)
    'abc…hij'
    """
    if len(name) > longest:
        kept = longest - 1
        name = f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"
    return name.replace("$", r"\$")


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg; equal figures give equal bytes."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("png", "svg")]
    # The salt makes the ids in the SVG, and with them its bytes, the same in every process.
    with matplotlib.rc_context({"svg.hashsalt": "lambda-grpo-bench"}):
        figure.savefig(paths[0], dpi=PNG_DPI)
        figure.set_layout_engine("none")  # everything stays where it is: laying out takes half of the time
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def band(bounds: Sequence[tuple[float | None, float | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper bounds as arrays; NaN, which draws nothing, where there are none."""
    low, high = np.array([[np.nan if x is None else x for x in pair] for pair in bounds], dtype=float).T
    return low, high
