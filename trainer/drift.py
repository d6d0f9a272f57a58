"""With a learning rate of 0 nothing may move: a probe of everything around the update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.stats import linregress
from tabulate import tabulate

from tasks.checkpoints import inspect_checkpoint
from tasks.errors import UserError
from trainer.config import TrainConfig
from trainer.runlog import read_metrics

FEWEST_STEPS = 3
"""A slope has a standard error from three points on."""
WATCHED = {
    "check/rollout_logprob_gap": "largest gap",
    "check/rollout_logprob_gap_mean": "mean gap",
    "check/prefix_disagreement": "prefix disagreement",
    "check/weight_sync_gap": "weight sync gap",
}
"""Metric -> column title; all in nats."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A least-squares line through one metric over the steps."""

    slope: float
    """Nats per step."""
    stderr: float


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What a run with a learning rate of 0 showed."""

    before: str
    """Digest of the weights at step 0."""
    after: str
    """And after the last step."""
    steps: list[dict[str, float]]
    """Per step: its number and the metrics of `WATCHED`."""
    trends: dict[str, Trend]
    """Metric -> trend."""


def measure_drift(config: TrainConfig, steps: int, report: Callable[[str], None] = print) -> Drift:
    """Run `steps` steps of `config` with a learning rate of 0 in a temporary folder.

    Raises:
        UserError: too few steps for a slope with a standard error.
    """
    from trainer.checkpoint import step_folder  # these load torch, which a mistake should not cost
    from trainer.loop import train

    check_steps(steps)
    still = {"learning_rate": 0.0, "steps": steps, "checkpoint_every": steps}
    with TemporaryDirectory(prefix="drift-") as folder:
        out = Path(folder) / "run"
        train(config.model_copy(update=still), out, report=report)
        before, after = (inspect_checkpoint(step_folder(out, step)).weights_hash for step in (0, steps))
        lines = [{name: line[name] for name in ("step", *WATCHED)} for line in read_metrics(out)]
    trends = {name: _trend([line[name] for line in lines]) for name in WATCHED}
    return Drift(before=before, after=after, steps=lines, trends=trends)


def check_steps(steps: int) -> None:
    """Refuse a number of steps that has no slope with a standard error."""
    if steps < FEWEST_STEPS:
        raise UserError(f"--steps {steps}: a slope with a standard error needs {FEWEST_STEPS} or more")


def drift_report(drift: Drift) -> str:
    """Return the table of steps, a line per trend, and the verdict on the weights."""
    rows = [[int(line["step"]), *(line[name] for name in WATCHED)] for line in drift.steps]
    table = tabulate(rows, headers=["step", *WATCHED.values()], floatfmt=".3e")
    trends = [
        [title, trend.slope, trend.stderr, _significance(trend)]
        for title, trend in zip(WATCHED.values(), drift.trends.values(), strict=True)
    ]
    slopes = tabulate(trends, headers=["trend", "nats per step", "standard error", "t"], floatfmt="+.3e")
    if drift.after == drift.before:
        verdict = f"weights: unchanged, {drift.before[:12]}"
    else:
        verdict = (
            f"weights: CHANGED from {drift.before[:12]} to {drift.after[:12]} at learning rate 0; "
            "something besides the optimizer writes to them"
        )
    return f"{table}\n\n{slopes}\n\n{verdict}"


def _significance(trend: Trend) -> str:
    """Return the slope in standard errors; nothing where the values lie on a line."""
    return f"{trend.slope / trend.stderr:+.1f}" if trend.stderr > 0 else "-"


def _trend(values: list[float]) -> Trend:
    if len(set(values)) == 1:  # scipy has no standard error for these: 0/0
        return Trend(slope=0.0, stderr=0.0)
    fit = linregress(np.arange(1, len(values) + 1), values)
    return Trend(slope=float(fit.slope), stderr=float(fit.stderr))
