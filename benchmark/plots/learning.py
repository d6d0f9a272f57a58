"""Learning curves: the mean over seeds with its band over steps, tokens or seconds; every seed by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmark.filenames import file_stem
from benchmark.plots.style import (
    GREY,
    PANELS_PER_ROW,
    ArmStyle,
    band,
    counts_along,
    dress,
    key,
    panels,
    save,
    shares,
    short,
)
from benchmark.stats import Interval, t_interval

AXES = {"step": "Optimizer steps", "tokens": "Generated tokens in training", "seconds": "Seconds of training"}
"""Column of a curve's points -> what it is called."""
CROWD = 4
"""With more arms than this, single seeds are left to `draw_seeds`: thirty thin lines are a cloud."""


@dataclass(frozen=True)
class Band:
    """A mean curve over seeds: `x` and one interval at each place."""

    x: np.ndarray
    intervals: list[Interval]


def mean_curve(points: pd.DataFrame, axis: str, level: float = 0.95) -> Band:
    """Average one arm's curves over seeds at equal places of the axis.

    The places are the mean positions of the checkpoints, as far as every seed has come. Over steps these are
    the checkpoints; over tokens and seconds a seed's value between two of its checkpoints lies on the line
    between them, and nothing is drawn beyond the end of the shortest run.

    Args:
        points: rows of one task and arm of `learning_curves`.
        axis: "step", "tokens" or "seconds".
        level: of the t interval.
    """
    runs = [run.sort_values("step") for _, run in points.groupby("seed")]
    x_sk = np.array([run[axis].to_numpy(dtype=float) for run in runs])
    end = float(x_sk[:, -1].min())
    place_k = x_sk.mean(axis=0)
    x = np.unique(np.append(place_k[place_k < end], end))
    value_sk = np.array(
        [
            np.interp(x, place, run["test"].to_numpy(dtype=float))
            for place, run in zip(x_sk, runs, strict=True)
        ]
    )
    return Band(x, [t_interval(value_s, level) for value_s in value_sk.T])


def draw_learning(
    curves: pd.DataFrame,
    styles: dict[str, ArmStyle],
    stem: Path,
    *,
    axis: str = "step",
    metric: str = "accuracy",
    smoke: bool = False,
    level: float = 0.95,
) -> list[Path]:
    """Draw the test metric of every task over one axis: per arm the mean over seeds with its t band.

    The band starts after step 0, where there is one policy and no spread, and is missing where `t_interval`
    has no bounds.

    Args:
        curves: as `learning_curves` returns them; one panel per task.
        styles: of every arm.
        stem: the files are STEM.png and STEM.svg.
        axis: a key of `AXES`.
        metric: what the values are, for the axis.
        smoke: say so in every title.
        level: coverage of the band.

    Returns:
        The files; none where the axis has not been measured (a trainer that keeps no times).
    """
    if not (curves.groupby(["task", "arm", "seed"])[axis].max() > 0).all():
        return []
    tasks = sorted(set(curves["task"]))
    handles: list[Line2D | Patch] = [key(arm, style) for arm, style in styles.items()]
    handles.append(
        Line2D([], [], color=GREY, linestyle=":", marker="o", markersize=5, label="untrained policy")
    )
    if curves.groupby(["task", "arm", "step"])["test"].nunique().max() > 1:
        handles.append(Patch(facecolor="0.8", label=f"{100 * level:g} % t interval over seeds"))
    figure, places = panels(len(tasks), handles)
    for axes, task in zip(places, tasks, strict=True):
        points = curves[curves["task"] == task]
        draw_panel(axes, points, styles, axis=axis, level=level)
        axes.set_title(_title(task, points, smoke), fontsize=10)
    for axes in places[::PANELS_PER_ROW]:
        axes.set_ylabel(f"Test {metric.replace('_', ' ')}", fontsize=9.5)
    return save(figure, stem)


def draw_panel(
    axes: Axes, points: pd.DataFrame, styles: dict[str, ArmStyle], *, axis: str = "step", level: float = 0.95
) -> None:
    """Draw one task into a panel."""
    arms = {arm: rows for arm, rows in points.groupby("arm")}
    fade = min(1.0, 3 / len(arms))
    for number, (arm, style) in enumerate(styles.items()):
        if arm not in arms:
            continue
        if len(arms) <= CROWD:
            _seeds(axes, arms[arm], style, axis, alpha=0.4 * fade)
        curve = mean_curve(arms[arm], axis, level)
        low, high = band([(i.low, i.high) for i in curve.intervals])
        axes.fill_between(curve.x, low, high, color=style.colour, alpha=0.16 * fade, linewidth=0, zorder=1)
        axes.plot(
            curve.x,
            [interval.mean for interval in curve.intervals],
            color=style.colour,
            linestyle=style.line,
            marker=style.marker,
            markersize=5,
            markevery=slice(1, None),
            markeredgecolor="white",
            markeredgewidth=0.6,
            linewidth=1.8,
            zorder=4 + number,
        )
    _base(axes, points, zorder=4 + len(styles))
    dress(axes)
    shares(axes)
    counts_along(axes, AXES[axis])


def _seeds(axes: Axes, points: pd.DataFrame, style: ArmStyle, axis: str, alpha: float) -> None:
    for _, run in points.groupby("seed"):
        run = run.sort_values("step")
        axes.plot(run[axis], run["test"], color=style.colour, linewidth=0.6, alpha=alpha, zorder=2)


def _base(axes: Axes, points: pd.DataFrame, zorder: float) -> None:
    base = points.loc[points["step"] == 0, "test"].iloc[0]
    axes.axhline(base, color=GREY, linestyle=":", linewidth=1.2, zorder=3)
    axes.plot([0], [base], color=GREY, marker="o", markersize=5, zorder=zorder)


def _title(task: str, points: pd.DataFrame, smoke: bool) -> str:
    seeds = points.groupby("arm")["seed"].nunique()
    low, high, items = seeds.min(), seeds.max(), points["n_items"].min()
    count = f"{low}" if low == high else f"{low} to {high}"
    return f"{'SMOKE ' if smoke else ''}{short(task)}: {count} seed{'' if high == 1 else 's'}, {items} items"


def draw_seeds(
    curves: pd.DataFrame, styles: dict[str, ArmStyle], folder: Path, *, smoke: bool = False
) -> list[Path]:
    """Draw every seed in a panel of its own, all arms in it: one figure `seeds_TASK` per task.

    Equal axes, so that panels compare; what one seed did to all arms is seen at a glance.
    """
    paths = []
    for task, points in curves.groupby("task"):
        seeds = sorted(set(points["seed"]))
        handles = [
            *(key(arm, style) for arm, style in styles.items()),
            Line2D([], [], color=GREY, linestyle=":", label="untrained policy"),
        ]
        figure, places = panels(len(seeds), handles, height=2.3)
        low, high = points["test"].min(), points["test"].max()
        margin = 0.06 * (high - low) or 0.02
        for axes, seed in zip(places, seeds, strict=True):
            run_by_arm = {arm: run for arm, run in points[points["seed"] == seed].groupby("arm")}
            for arm, style in styles.items():
                if arm in run_by_arm:
                    run = run_by_arm[arm].sort_values("step")
                    axes.plot(
                        run["step"],
                        run["test"],
                        color=style.colour,
                        linestyle=style.line,
                        **_POINT,
                        marker=style.marker,
                    )
            axes.axhline(
                points.loc[points["step"] == 0, "test"].iloc[0], color=GREY, linestyle=":", linewidth=1.0
            )
            axes.set_ylim(low - margin, high + margin)
            axes.set_title(f"seed {seed}", fontsize=9)
            dress(axes)
            shares(axes)
            counts_along(axes, AXES["step"])
        figure.suptitle(f"{'SMOKE ' if smoke else ''}{short(task)}: test accuracy of every seed", fontsize=10)
        paths += save(figure, folder / file_stem("seeds", task))
    return paths


_POINT: dict[str, Any] = {
    "linewidth": 1.3,
    "markersize": 3.5,
    "markeredgecolor": "white",
    "markeredgewidth": 0.4,
}
