"""What an interval carries, in one sentence, and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmark.endpoints import MACRO, Endpoints
from benchmark.report.results import ALL_TASKS
from benchmark.report.table import absent, number, quantity

NOUNS = {
    "final": "final value",
    "peak": "peak",
    "auc": "area under the curve",
    "last3": "mean of the last three",
    "speed": "speed",
}
"""Endpoint -> what people read; times to levels are named by `noun`."""


def task_name(task: str) -> str:
    """Return what people read for a task."""
    return ALL_TASKS if task == MACRO else task


def noun(record: Mapping[str, Any]) -> str:
    """Name the endpoint of a comparison.

    >>> noun({"endpoint": "time_to_1", "level": 0.55})
    'time to 55 %'
    """
    endpoint = record["endpoint"]
    if endpoint.startswith("time_to_"):
        return f"time to {100 * record['level']:g} %"
    return NOUNS[endpoint]


def sentence(record: Mapping[str, Any], endpoints: Endpoints) -> str:
    """Say what a row of `paired_differences` carries.

    Args:
        record: the row.
        endpoints: what it was judged by.
    """
    matched = "" if record["axis"] == "steps" else f" matched by {record['axis']}"
    subject = f"{task_name(record['task'])}, {noun(record)}{matched}: {record['arm']}"
    against = f"{subject} against {record['baseline']}"
    pairs = f"{record['n']} pair{'' if record['n'] == 1 else 's'}"
    verdict, also = record["verdict"], f"; {record['reason']}" if record["reason"] else ""
    bare = absent(record["difference"]) or record["difference"].low is None
    if bare:
        return f"{against}: no statement{also or '; there is no number'}."
    show = _scale(record)
    low, high = show(record["difference"].low), show(record["difference"].high)
    interval = f"{100 * (1 - endpoints.alpha):g} % interval {low} to {high}"
    if verdict == "no statement":
        return f"{against}: no statement{also} ({interval}, MDE {_mde(record)})."
    if verdict in ("higher", "lower"):
        evidence = f"{interval}, {pairs}, adjusted p {record['p_holm']:.3g}, MDE {_mde(record)}{also}"
        return f"{subject} {_claim(record)} ({evidence})."
    if verdict == "equivalent":
        test = f"equivalence test, adjusted p {record['p_equivalent']:.3g}"
        evidence = f"{test}, {interval}, {pairs}, MDE {_mde(record)}{also}"
        return f"{against}: no difference beyond {_margin(record, endpoints)} ({evidence})."
    unchanged = 1.0 if record["unit"] == "ratio" else 0.0
    alone = not record["difference"].low <= unchanged <= record["difference"].high
    corrected = " after correction over the tasks" if alone else ""
    return (
        f"{against}: no difference shown{corrected} ({pairs}, adjusted p {record['p_holm']:.3g}); a "
        f"difference inside [{low}, {high}]{' (an interval without correction)' if alone else ''} "
        f"cannot be ruled out (MDE {_mde(record)}){also}."
    )


def _margin(record: Mapping[str, Any], endpoints: Endpoints) -> str:
    if record["unit"] == "ratio":
        return f"{1 / endpoints.speed_margin:.2f} and {endpoints.speed_margin:.2f} times"
    return f"{100 * endpoints.margin:g} points"


def _claim(record: Mapping[str, Any]) -> str:
    """Say which way and by how much; of a time, "lower" is the better."""
    mean, verdict = record["difference"].mean, record["verdict"]
    if record["unit"] == "ratio":
        faster = "faster" if verdict == "higher" else "slower"
        bound = f"{record['bound']} " if record["bound"] else ""
        return f"is {faster} than {record['baseline']}, {bound}{mean:.2f} times as fast"
    if record["unit"] == "metric":
        return f"is {verdict} than {record['baseline']} by {100 * abs(mean):.2f} points"
    if record["n_censored"]:
        below = f"a {verdict} restricted mean time than {record['baseline']}"
        return f"has {below}, by {quantity(abs(mean))} {record['unit']}"
    sooner = "sooner" if verdict == "lower" else "later"
    return f"is there {quantity(abs(mean))} {record['unit']} {sooner} than {record['baseline']}"


def _scale(record: Mapping[str, Any]) -> Callable[[float], str]:
    if record["unit"] == "metric":
        return lambda value: f"{100 * value + 0.0:+.2f}"
    if record["unit"] == "ratio":
        return lambda value: f"{value:.2f}"
    return lambda value: f"{'+' if value > 0 else ''}{quantity(value)}"


def _mde(record: Mapping[str, Any]) -> str:
    return mde_text(record) + {"metric": " points", "ratio": " times"}.get(
        record["unit"], f" {record['unit']}"
    )


def mde_text(record: Mapping[str, Any]) -> str:
    """Write the minimum detectable effect in the unit of its comparison, without the unit."""
    if absent(record["mde"]):
        return number(3)(None)
    value = record["mde"]
    if record["unit"] == "metric":
        return f"{100 * value:.2f}"
    return f"{value:.2f}" if record["unit"] == "ratio" else quantity(value)
