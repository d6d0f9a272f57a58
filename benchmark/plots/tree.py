"""The process tree over training: how much of a group's completions is shared, per arm, with bands."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmark.plots.style import ArmStyle, band, counts_along, dress, key, panels, save, short
from benchmark.stats import t_interval
from benchmark.suite import run_folder
from tasks.errors import UserError

STATISTICS = {
    "tree/set_size": "Completions that share a token\n(mean process set size)",
    "tree/nodes_per_token": "Distinct prefixes per token\n(loss mass that λ-GRPO keeps)",
    "tree/path_depth": "Edges from root to leaf\n(mean path depth)",
}
"""Names in RUN/metrics.jsonl (docs/metrics.md) -> the y axis."""
PLACES = 22
"""At most so many points a line: more steps are averaged in groups of equal size, each at its middle."""


def tree_statistics(out: Path, runs: Iterable[tuple[str, int]]) -> pd.DataFrame:
    """Read the tree statistics of training runs.

    Args:
        out: folder of the suite's results.
        runs: (arm, seed) of every run.

    Returns:
        arm, seed, step and the columns of `STATISTICS`, sorted; NaN where a trainer does not log one. Runs
        whose folder is not there (rows alone were copied) are left out.

    Raises:
        UserError: a line of the metrics that is no JSON object with a step.
    """
    records = []
    for arm, seed in sorted(runs):
        path = run_folder(out, arm, seed) / "metrics.jsonl"
        if not path.exists():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                found = json.loads(line)
                record = {"arm": arm, "seed": seed, "step": int(found["step"])}
                record |= {name: _number(found.get(name)) for name in STATISTICS}
            except (ValueError, TypeError, KeyError, AttributeError):
                raise UserError(f"{path}:{number}: not a line of metrics; train the run again") from None
            records.append(record)
    return pd.DataFrame(records, columns=["arm", "seed", "step", *STATISTICS])


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def draw_tree(
    statistics: pd.DataFrame,
    styles: dict[str, ArmStyle],
    stem: Path,
    *,
    smoke: bool = False,
    level: float = 0.95,
) -> list[Path]:
    """Draw what `tree_statistics` returns, a panel each; arms that log none of it are named below the title.

    No files where no arm logs any of it.
    """
    measured = statistics.dropna(subset=list(STATISTICS), how="all")
    arms = {arm: style for arm, style in styles.items() if arm in set(measured["arm"])}
    if not arms:
        return []
    handles: list[Line2D | Patch] = [key(arm, style) for arm, style in arms.items()]
    if measured.groupby("arm")["seed"].nunique().max() > 1:
        handles.append(Patch(facecolor="0.8", label=f"{100 * level:g} % t interval over seeds"))
    figure, places = panels(len(STATISTICS), handles)
    for axes, (name, label) in zip(places, STATISTICS.items(), strict=True):
        for number, (arm, style) in enumerate(arms.items()):
            _draw(
                axes, measured[measured["arm"] == arm], name, style, first=number, arms=len(arms), level=level
            )
        low, high = axes.get_ylim()  # a t band of few seeds can leave what the statistic can be
        axes.set_ylim(max(low, 0.0), min(high, 1.02) if name == "tree/nodes_per_token" else high)
        axes.set_ylabel(label, fontsize=9)
        dress(axes)
        counts_along(axes, "Optimizer steps")
    silent = [short(arm, 30) for arm in styles if arm not in arms]
    note = f"; not logged by {', '.join(silent)}" if silent else ""
    figure.suptitle(f"{'SMOKE ' if smoke else ''}The process tree during training{note}", fontsize=10)
    return save(figure, stem)


def _draw(
    axes: Axes, rows: pd.DataFrame, name: str, style: ArmStyle, *, first: int, arms: int, level: float
) -> None:
    """Draw one arm; its markers start at another place than those of the others, which may lie on it."""
    fade = min(1.0, 3 / arms)
    value = rows.pivot(index="step", columns="seed", values=name).sort_index().dropna()
    if value.empty:
        return
    group = np.arange(len(value)) * min(PLACES, len(value)) // len(value)
    step = pd.Series(value.index.to_numpy(dtype=float)).groupby(group).mean().to_numpy()
    value_ks = value.groupby(group).mean().to_numpy()
    intervals = [t_interval(value_s, level) for value_s in value_ks]
    low, high = band([(i.low, i.high) for i in intervals])
    axes.fill_between(step, low, high, color=style.colour, alpha=0.16 * fade, linewidth=0, zorder=1)
    axes.plot(
        step,
        [interval.mean for interval in intervals],
        color=style.colour,
        linestyle=style.line,
        marker=style.marker,
        markersize=4.5,
        markevery=(first % len(step), max(2, min(arms, len(step)))),
        markeredgecolor="white",
        markeredgewidth=0.6,
        linewidth=1.6,
        zorder=4,
    )
