"""All pictures of a suite, drawn from the frames of its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.analysis.curves import learning_curves
from benchmark.filenames import file_stem
from benchmark.plots.flips import draw_flips
from benchmark.plots.forest import Effect, Scale, draw_forest
from benchmark.plots.learning import draw_learning, draw_seeds
from benchmark.plots.style import ArmStyle, arm_styles
from benchmark.plots.tree import draw_tree, tree_statistics
from benchmark.report.claims import NOUNS, mde_text, task_name
from benchmark.report.results import Results
from benchmark.report.table import absent, number, points, ratio

POINTS = Scale("Difference (points)", 0.0, percent=True)
TIMES = Scale("Times as fast (log scale)", 1.0, log=True)
FILLED = "filled: significant after Holm"


def draw_pictures(frame: pd.DataFrame, results: Results, folder: Path, *, runs_in: Path) -> list[Path]:
    """Draw every picture of a suite.

    Args:
        frame: rows of the suite, as `rows.to_frame` returns them.
        results: the frames of its report.
        folder: of the pictures, made when missing. Pictures that are there and not drawn again are deleted.
        runs_in: the suite's folder, for the metrics of its runs.

    Returns:
        The files, `curves.png` first.

    Raises:
        UserError: rows or metrics that cannot be read.
    """
    curves = learning_curves(frame, metric=results.metric, kind="smoke" if results.smoke else "real")
    styles = arm_styles(curves["arm"], results.baseline)
    paths = _curves(curves, styles, folder, results)
    paths += draw_seeds(curves, styles, folder, smoke=results.smoke)
    for endpoint in dict.fromkeys([results.endpoints.primary, "peak", "final"]):
        primary = endpoint == results.endpoints.primary
        axis = results.endpoints.primary_axis if primary else "steps"
        paths += _forest(results, styles, endpoint, axis, folder / f"forest_{endpoint}")
    for axis in results.endpoints.axes:
        paths += _forest(results, styles, "speed", axis, folder / f"forest_speed_{axis}")
    runs = {(str(arm), int(seed)) for arm, seed in zip(curves["arm"], curves["seed"], strict=True)}
    paths += draw_tree(
        tree_statistics(runs_in, runs),
        styles,
        folder / "tree",
        smoke=results.smoke,
        level=1 - results.endpoints.alpha,
    )
    if results.scores is not None:
        paths += draw_flips(results.scores, folder, baseline=results.baseline, smoke=results.smoke)
    for path in folder.iterdir():
        if path.suffix in (".png", ".svg") and path not in paths:
            path.unlink()
    return paths


def _curves(curves: pd.DataFrame, styles: dict[str, ArmStyle], folder: Path, results: Results) -> list[Path]:
    """Draw all tasks over each axis, and each task by itself over steps."""
    looks: dict[str, Any] = {"metric": results.metric, "smoke": results.smoke}
    looks["level"] = 1 - results.endpoints.alpha
    paths = draw_learning(curves, styles, folder / "curves", **looks)
    paths += draw_learning(curves, styles, folder / "curves_over_tokens", axis="tokens", **looks)
    paths += draw_learning(curves, styles, folder / "curves_over_seconds", axis="seconds", **looks)
    for task, points_of_task in curves.groupby("task"):
        paths += draw_learning(points_of_task, styles, folder / file_stem("curve", str(task)), **looks)
    return paths


def _forest(
    results: Results, styles: dict[str, ArmStyle], endpoint: str, axis: str, stem: Path
) -> list[Path]:
    table = results.differences
    chosen = table[(table["endpoint"] == endpoint) & (table["axis"] == axis)]
    effects = [_effect(row) for row in chosen.to_dict("records")]
    over = "" if endpoint in ("final", "peak", "last3") else f" over {axis}"
    smoke = "SMOKE " if results.smoke else ""
    what = "Speed" if endpoint == "speed" else NOUNS[endpoint].capitalize()
    title = f"{smoke}{what}{over}: difference from {results.baseline} ({FILLED})"
    scale, unit = POINTS, "points"
    if endpoint == "speed":
        title = f"{smoke}{what}{over}, {results.baseline} = 1 ({FILLED})"
        scale, unit = TIMES, "times"
    level = f"{100 * (1 - results.endpoints.alpha):g} %"
    header = (f"{unit} [{level} interval]", "adjusted p", "pairs", "MDE")
    return draw_forest(effects, styles, stem, title=title, scale=scale, header=header)


def _effect(row: dict[str, Any]) -> Effect:
    show = ratio if row["unit"] == "ratio" else points
    numbers = (number(2)(row["p_holm"]), f"{row['n']}", mde_text(row))
    interval = row["difference"]
    cells = (f"none: {row['reason']}" if absent(interval) else show(interval), *numbers)
    return Effect(task_name(row["task"]), row["arm"], interval, cells, row["verdict"] in ("higher", "lower"))
