"""One unit of samples to the numbers of its rows: graded, counted, averaged over the items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.stats import item_standard_error
from benchmark.store import Sample, Unit
from tasks.errors import UserError
from tasks.grading import Asked, grade_all
from tasks.sampled import metric_names, sample_metrics
from tasks.schema import AnswerKind, Grade, Problem, Status

Columns = dict[str, object]


def measure(
    unit: Unit, problems: Sequence[Problem], kind: AnswerKind, count: int
) -> tuple[list[Columns], list[Grade]]:
    """Grade a unit of the store.

    Args:
        unit: may hold more samples of an item than are wanted.
        problems: of the split, all of them.
        kind: what their answers look like.
        count: samples per item.

    Returns:
        The measured columns of one row per metric, and every grade that they rest on.

    Raises:
        UserError: the first `count` samples of every item are not all there.
    """
    samples = [sample for sample in unit.samples if sample.index < count]
    _check_counts(unit, samples, problems, count)
    golds = {problem.id: problem.gold for problem in problems}
    grades = grade_all([Asked(one.text, golds[one.item], one.finish, kind) for one in samples])
    by_item: dict[str, list[Grade]] = {problem.id: [] for problem in problems}
    for sample, verdict in zip(samples, grades, strict=True):
        by_item[sample.item].append(verdict)
    metrics = [sample_metrics(verdicts, count, kind) for verdicts in by_item.values()]
    clusters = _clusters(problems)
    statuses = [verdict.status for verdict in grades]
    shared: Columns = {
        "n_samples": count,
        "n_loose": sum(verdict.found == "loose" for verdict in grades),
        "n_unparsed": statuses.count(Status.UNPARSED),
        "n_truncated": statuses.count(Status.TRUNCATED),
        "n_ungraded": statuses.count(Status.BAD_GOLD) + statuses.count(Status.ERROR),
        "mean_tokens": float(np.mean([sample.tokens for sample in samples])),
        "engine": unit.request["engine"],
        "device": ", ".join(sorted({one["device"] for one in unit.effective})),
        "wall_s": sum(one["seconds"] for one in unit.effective),
        "sample_key": unit.key,
    }
    rows = [
        shared | {"metric": name} | _mean([item[name] for item in metrics], clusters)
        for name in metric_names(count)
    ]
    return rows, grades


def not_measured(engine: str, count: int, reason: str) -> list[Columns]:
    """Return the columns of rows that could not be measured: null, never 0, and why."""
    shared: Columns = {
        **dict.fromkeys(("n_items", "n_unparsed", "n_truncated", "n_ungraded"), 0),
        **dict.fromkeys(("value", "stderr", "mean_tokens", "wall_s")),
        "n_samples": count,
        "engine": engine,
        "device": "",
        "sample_key": "",
        "missing": reason,
    }
    return [shared | {"metric": name} for name in metric_names(count)]


def _clusters(problems: Sequence[Problem]) -> list[str] | None:
    """Return the cluster of every item; None where each stands for itself."""
    if not any(problem.cluster for problem in problems):
        return None
    return [problem.cluster or problem.id for problem in problems]


def _mean(value_i: Sequence[float | None], clusters: Sequence[str] | None) -> Columns:
    """Average one metric over the items that have it."""
    known = [at for at, value in enumerate(value_i) if value is not None]
    values = [float(value) for value in value_i if value is not None]
    groups = None if clusters is None else [clusters[at] for at in known]
    return {
        "n_items": len(values),
        "value": float(np.mean(values)) if values else None,
        "stderr": item_standard_error(values, groups),
    }


def _check_counts(unit: Unit, samples: Sequence[Sample], problems: Sequence[Problem], count: int) -> None:
    """Missing is not wrong: every item must have exactly its samples before any mean is taken."""
    want = sorted((problem.id, index) for problem in problems for index in range(count))
    if sorted((sample.item, sample.index) for sample in samples) != want:
        raise UserError(
            f"unit {unit.key}: {len(samples)} samples do not cover {len(problems)} items x {count}; "
            "run the same command with `generate` to make what is missing"
        )
