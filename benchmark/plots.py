"""Learning curves as figures for a paper: PNG to look at, SVG to print."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmark.curves import learning_curves
from benchmark.stats import t_interval

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette without its yellow, which is too light for a line on white."""
LineType = Literal["-", "--", "-."] | tuple[float, tuple[float, ...]]
LINES: tuple[LineType, ...] = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PNG_DPI = 150
PANEL_INCHES = (4.6, 3.1)
GREY = "0.35"
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "handlelength": 3.2, "columnspacing": 1.6}


@dataclass(frozen=True)
class ArmStyle:
    """How one arm is drawn; line and marker alone tell the arms apart."""

    colour: str
    line: LineType
    marker: str


def draw_curves(
    frame: pd.DataFrame,
    out: Path,
    *,
    metric: str = "accuracy",
    kind: str = "real",
    baseline: str = "grpo",
    level: float = 0.95,
) -> list[Path]:
    """Draw the test metric over training steps: one figure per task, and all tasks side by side.

    Per arm: the mean over seeds with its t band, and every seed as a thin line. The band starts at the first
    checkpoint: at step 0 there is one policy and no spread. No band where `t_interval` has no bounds.

    Args:
        frame: rows of one suite, as `rows.to_frame` returns them.
        out: folder, made when missing. Equal rows give equal SVG bytes.
        metric: a fraction in [0, 1]; the axis shows percent.
        kind: "real", or "smoke" (said in the title).
        baseline: the arm drawn first, in the first style.
        level: coverage of the band.

    Returns:
        The files: `curve_TASK.png` and `.svg` per task, then `curves.png` and `.svg`.

    Raises:
        UserError: rows that `learning_curves` refuses.
    """
    curves = learning_curves(frame, metric=metric, kind=kind)
    arms = sorted(set(curves["arm"]), key=lambda arm: (arm != baseline, arm))
    styles = {arm: _style(number) for number, arm in enumerate(arms)}
    tasks = sorted(set(curves["task"]))
    pictures = {f"curve_{re.sub(r'[^A-Za-z0-9_.-]', '_', task)}": [task] for task in tasks} | {
        "curves": tasks
    }
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, shown in pictures.items():
        chosen = curves[curves["task"].isin(shown)]
        paths += _save(_figure(chosen, styles, metric=metric, kind=kind, level=level), out / name)
    return paths


def _style(number: int) -> ArmStyle:
    return ArmStyle(
        COLOURS[number % len(COLOURS)], LINES[number % len(LINES)], MARKERS[number % len(MARKERS)]
    )


def _figure(
    curves: pd.DataFrame, styles: dict[str, ArmStyle], *, metric: str, kind: str, level: float
) -> Figure:
    tasks = sorted(set(curves["task"]))
    legend_rows = math.ceil((len(styles) + 2) / (2 * len(tasks)))
    size = (PANEL_INCHES[0] * len(tasks), PANEL_INCHES[1] + 0.25 + 0.18 * legend_rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    banded = False
    for axes, task in zip(panels, tasks, strict=True):
        rows = curves[curves["task"] == task]
        banded |= _panel(axes, rows, styles, level)
        axes.set_title(_title(task, rows, kind), fontsize=10)
    panels[0].set_ylabel(f"Test {metric.replace('_', ' ')}")
    handles: list[Line2D | Patch] = [_key(arm, style) for arm, style in styles.items()]
    handles.append(
        Line2D([], [], color=GREY, linestyle=":", marker="o", markersize=5, label="untrained policy")
    )
    if banded:
        handles.append(Patch(facecolor="0.8", label=f"{100 * level:g} % t interval over seeds"))
    columns = math.ceil(len(handles) / legend_rows)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, **LEGEND)
    return figure


def _key(arm: str, style: ArmStyle) -> Line2D:
    return Line2D(
        [], [], color=style.colour, linestyle=style.line, marker=style.marker, markersize=5, label=arm
    )


def _panel(axes: Axes, rows: pd.DataFrame, styles: dict[str, ArmStyle], level: float) -> bool:
    """Draw one task; say whether any band could be drawn."""
    banded = False
    fade = min(1.0, 3 / len(styles))
    for number, (arm, style) in enumerate(styles.items()):
        value = rows[rows["arm"] == arm].pivot(index="step", columns="seed", values="test")
        if value.empty:
            continue
        step = value.index.to_numpy()
        for seed in value.columns:
            axes.plot(
                step, value[seed].to_numpy(), color=style.colour, linewidth=0.6, alpha=0.4 * fade, zorder=2
            )
        intervals = [t_interval(at_step, level) for at_step in value.to_numpy()]
        bounds = [(np.nan, np.nan) if i.low is None or i.high is None else (i.low, i.high) for i in intervals]
        low, high = np.array(bounds).T
        banded |= bool(np.isfinite(low).any())
        axes.fill_between(step, low, high, color=style.colour, alpha=0.16 * fade, linewidth=0, zorder=1)
        axes.plot(
            step,
            [interval.mean for interval in intervals],
            color=style.colour,
            linestyle=style.line,
            marker=style.marker,
            markersize=4.5,
            markevery=slice(1, None),
            markeredgecolor="white",
            markeredgewidth=0.6,
            linewidth=1.8,
            zorder=4 + number,
        )
    base = rows.loc[rows["step"] == 0, "test"].iloc[0]
    axes.axhline(base, color=GREY, linestyle=":", linewidth=1.2, zorder=3)
    axes.plot([0], [base], color=GREY, marker="o", markersize=5, zorder=4 + len(styles))
    _dress(axes)
    return banded


def _dress(axes: Axes) -> None:
    axes.set_xlabel("Optimizer steps")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5)
    axes.margins(x=0.02)
    low, high = axes.get_ylim()  # a t band of few seeds can leave the range that accuracy has
    axes.set_ylim(max(low, -0.02), min(high, 1.02))


def _percent(value: float, position: int | None = None) -> str:
    del position  # matplotlib passes it
    return f"{round(100 * value, 6):g} %"


def _title(task: str, rows: pd.DataFrame, kind: str) -> str:
    seeds = rows.groupby("arm")["seed"].nunique()
    low, high, items = seeds.min(), seeds.max(), rows["n_items"].min()
    count = f"{low}" if low == high else f"{low} to {high}"
    smoke = "SMOKE " if kind == "smoke" else ""
    return f"{smoke}{task}: {count} seed{'' if high == 1 else 's'}, {items} items"


def _save(figure: Figure, stem: Path) -> list[Path]:
    # The salt makes the ids in the SVG, and with them its bytes, the same in every process.
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("png", "svg")]
    with matplotlib.rc_context({"svg.hashsalt": "lambda-grpo-bench"}):
        figure.savefig(paths[0], dpi=PNG_DPI)
        figure.savefig(paths[1], metadata={"Date": None})
    return paths
