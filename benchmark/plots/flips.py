"""Which items changed: bars of items gained and lost per arm, and the items that moved most over training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmark.analysis.flips import arm_flips, flip_counts, moved_items
from benchmark.filenames import file_stem
from benchmark.plots.style import CHARACTER_INCHES, LEGEND, dress, save, short

MOST_ITEMS = 40
FILLS: dict[str, dict[str, Any]] = {
    "gained": {"facecolor": "0.45", "hatch": ""},
    "lost": {"facecolor": "white", "hatch": "////"},
    "gained_and_lost": {"facecolor": "0.88", "hatch": ".."},
}
"""Grey and hatching: nothing here is told by colour."""
TRAINING = {
    "gained": "gained: wrong before, right at the last checkpoint",
    "lost": "lost: right before, wrong at the last checkpoint",
    "gained_and_lost": "gained and lost again: right only in between",
}
AGAINST = {"gained": "right in this arm only", "lost": "right in {baseline} only"}


def draw_flips(scores: pd.DataFrame, folder: Path, *, baseline: str, smoke: bool = False) -> list[Path]:
    """Draw bars, `flipped_by_training` and `flipped_between_arms`, and the items themselves, `flips_TASK`.

    Args:
        scores: as `items.item_scores` returns them.
        folder: of the pictures.
        baseline: the arm that the others are held against, and drawn first.
        smoke: say so in every title.
    """
    mark = "SMOKE " if smoke else ""
    counts = flip_counts(scores)
    paths = _bars(
        counts, TRAINING, baseline, folder / "flipped_by_training",
        f"{mark}Test items that training flipped, mean over seeds",
    )  # fmt: skip
    against = arm_flips(scores, baseline)
    against = against.rename(columns={"only_arm": "gained", "only_baseline": "lost"})
    if not against.empty:
        texts = {name: text.format(baseline=short(baseline, 30)) for name, text in AGAINST.items()}
        title = f"{mark}Test items at the last checkpoint, against {short(baseline, 30)} of the same seed"
        paths += _bars(against, texts, baseline, folder / "flipped_between_arms", title)
    for task in sorted(set(counts["task"])):
        paths += _heat(scores, task, baseline, folder / file_stem("flips", task), mark)
    return paths


def _bars(counts: pd.DataFrame, texts: dict[str, str], baseline: str, stem: Path, title: str) -> list[Path]:
    mean = counts.groupby(["task", "arm"])[list(texts)].mean().reset_index()
    mean = mean.assign(other=mean["arm"] != baseline).sort_values(["task", "other", "arm"])
    tasks = list(dict.fromkeys(mean["task"]))
    label = CHARACTER_INCHES * max(len(short(arm)) for arm in mean["arm"]) + 0.2
    lines = [int((mean["task"] == task).sum()) for task in tasks]
    height = sum(lines) * 0.3 + 0.42 * len(tasks) + 1.1 + 0.2 * len(texts)
    figure = Figure(figsize=(label + 6.2, height), layout="constrained")
    places = figure.subplots(len(tasks), 1, squeeze=False, sharex=True, height_ratios=lines)[:, 0]
    widest = float(mean[list(texts)].drop(columns="lost").sum(axis=1).max())
    left = float(mean["lost"].max())
    span = max(widest + left, 1.0)
    for axes, task in zip(places, tasks, strict=True):
        _bar_panel(axes, mean[mean["task"] == task], texts, span)
        rows = counts[counts["task"] == task]
        items, seeds = rows["n_items"].min(), rows["seed"].nunique()
        axes.set_title(f"{short(task)}: {items} items, {_plural(seeds, 'seed')}", fontsize=9.5, loc="left")
        axes.set_xlim(-left - 0.12 * span, widest + 0.12 * span)
    places[-1].set_xlabel("Items (lost to the left, gained to the right)", fontsize=9)
    figure.suptitle(title, fontsize=10)
    handles = [
        Patch(edgecolor="0.2", linewidth=0.8, label=text, **FILLS[name]) for name, text in texts.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=1, **LEGEND)
    return save(figure, stem)


def _bar_panel(axes: Axes, mean: pd.DataFrame, texts: dict[str, str], span: float) -> None:
    for at, row in enumerate(mean.to_dict("records")):
        start = {"gained": 0.0, "lost": -row["lost"], "gained_and_lost": row["gained"]}
        for name in texts:
            axes.barh(
                at, row[name], left=start[name], height=0.62, edgecolor="0.2", linewidth=0.8, **FILLS[name]
            )
        end = row["gained"] + row.get("gained_and_lost", 0.0)
        again = f" +{row['gained_and_lost']:.3g}" if row.get("gained_and_lost") else ""
        axes.text(end + 0.01 * span, at, f"{row['gained']:.3g}{again}", va="center", fontsize=8)
        axes.text(-row["lost"] - 0.01 * span, at, f"{row['lost']:.3g}", va="center", ha="right", fontsize=8)
    dress(axes)
    axes.grid(False)
    axes.axvline(0, color="0.2", linewidth=1)
    axes.set_yticks(range(len(mean)), [short(arm) for arm in mean["arm"]], fontsize=8.5)
    axes.set_ylim(len(mean) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _heat(scores: pd.DataFrame, task: str, baseline: str, stem: Path, mark: str) -> list[Path]:
    mean = moved_items(scores, task, count=MOST_ITEMS)
    if mean.empty:
        return []
    arms = sorted(set(mean.columns.get_level_values(0)), key=lambda arm: (arm != baseline, arm))
    label = CHARACTER_INCHES * max(len(short(item, 30)) for item in mean.index) + 0.2
    width = label + 1.0 + len(arms) * 1.9
    figure = Figure(figsize=(width, 0.155 * len(mean) + 1.5), layout="constrained")
    places = figure.subplots(1, len(arms), squeeze=False, sharey=True)[0]
    for axes, arm in zip(places, arms, strict=True):
        block = mean[arm].dropna(axis=1, how="all")
        axes.imshow(
            block.to_numpy(dtype=float), cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="none"
        )
        shown = np.unique(np.linspace(0, block.shape[1] - 1, min(block.shape[1], 5)).round().astype(int))
        axes.set_xticks(shown, [f"{block.columns[at]:g}" for at in shown], fontsize=8)
        axes.set_title(short(arm, 22), fontsize=8.5)
        axes.tick_params(length=2)
    places[0].set_yticks(range(len(mean)), [short(item, 30) for item in mean.index], fontsize=7.5)
    figure.supxlabel("Optimizer steps", fontsize=9)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), "gray_r"), ax=places.tolist(), fraction=0.04, pad=0.01
    )
    bar.set_label("Share of seeds' answers that are right", fontsize=8)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(
        f"{mark}{short(task)}: the {len(mean)} test items that moved most, gained first", fontsize=10
    )
    return save(figure, stem)
