"""Times of two sides to a ratio with an interval, and results to a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import bootstrap
from tabulate import tabulate


def speedup(slow: Sequence[float], fast: Sequence[float], rng: np.random.Generator) -> dict[str, Any]:
    """Return median(slow) / median(fast) of independent timings, with a 95 % bootstrap interval.

    >>> speedup([4.0, 4.0, 4.0], [2.0, 2.0, 2.0], np.random.default_rng(0))
    {'ratio': 2.0, 'interval': [2.0, 2.0], 'counts': [3, 3], 'medians': [4.0, 2.0]}
    """
    return _ratio(slow, fast, rng, paired=False)


def share(part: Sequence[float], whole: Sequence[float], rng: np.random.Generator) -> dict[str, Any]:
    """Return the same of timings that were taken in turns: pair i belongs together."""
    return _ratio(part, whole, rng, paired=True)


def _ratio(
    over: Sequence[float], under: Sequence[float], rng: np.random.Generator, *, paired: bool
) -> dict[str, Any]:
    middle = [float(np.median(one)) for one in (over, under)]
    ratio = middle[0] / middle[1]
    low = high = ratio
    if np.ptp(over) or np.ptp(under):  # scipy refuses constants
        found = bootstrap(
            (np.asarray(over), np.asarray(under)),
            lambda a, b, axis=-1: np.median(a, axis=axis) / np.median(b, axis=axis),
            paired=paired,
            vectorized=True,
            n_resamples=9999,
            method="percentile",
            rng=rng,
        ).confidence_interval
        low, high = float(found.low), float(found.high)
    return {"ratio": ratio, "interval": [low, high], "counts": [len(over), len(under)], "medians": middle}


def table(held: Sequence[dict[str, Any]]) -> str:
    """Return the Markdown of everything that was measured."""
    results = [(one, result) for one in held for result in one["results"]]
    rows = [
        [
            result["case"],
            *(f"{value:.3g} {result['unit']}" for value in result["medians"]),
            f"{result['ratio']:.2f} [{result['interval'][0]:.2f}, {result['interval'][1]:.2f}]",
            f">= {result['goal']:g}",
            "met" if result["interval"][0] >= result["goal"] else "not met",
            " / ".join(map(str, result["counts"])),
        ]
        for _, result in results
    ]
    head = ["case", "first, median", "second, median", "first / second [95 %]", "goal", "", "n"]
    lines = [
        f"- `{result['case']}`: {result['summary']}; {one['machine']['processor']}, "
        f"commit {one['git_sha'][:7]}"
        for one, result in results
    ]
    text = tabulate(rows, head, tablefmt="github", disable_numparse=True)
    about = (
        "The interval is a bootstrap over the runs of both sides; a goal is met when all of it lies above."
    )
    return "\n".join(["# One engine for many checkpoints", "", about, "", text, "", *lines, ""])
