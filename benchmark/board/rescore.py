"""Every number of an entry again, from its stored texts and the reference answers of this checkout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmark.board.texts import NONE, Answer, ItemLine, Texts
from benchmark.rows import ResultRow
from benchmark.stats import item_standard_error
from tasks.catalog import find_task, load_problems
from tasks.grading import Asked, check_error_rate, grade_all
from tasks.sampled import sample_metrics
from tasks.schema import Grade, Problem, Split, Status

Numbers = dict[str, float | int | None]

COUNTED = ("value", "stderr", "n_items", "n_samples", "n_loose", "n_unparsed", "n_truncated", "n_ungraded",
           "mean_tokens")  # fmt: skip
"""The columns of a row that its texts decide."""


def rescore(task: str, split: Split, texts: Texts, rows: Sequence[ResultRow]) -> Iterator[str]:
    """Yield one line for every number of these rows that its texts do not give again, to the last digit.

    Args:
        task: of all of them.
        split: of all of them.
        texts: of that split; `check` has made sure that every unit is complete.
        rows: those that rest on `texts`.

    Raises:
        MissingSet: the reference answers are not on this machine.
        InfrastructureError: the grader failed too often to say anything.
    """
    problems, kind = load_problems(task, split), find_task(task).answer
    grade_of = grade_lines(texts.lines, problems, task)
    check_error_rate(list(grade_of.values()))
    keys = list(texts.units)
    lines = {(line.item, line.index): at for at, line in enumerate(texts.lines)}
    metrics_of_key: dict[str, dict[str, Numbers]] = {}
    for row in rows:
        if row.sample_key not in metrics_of_key:
            unit = keys.index(row.sample_key)
            metrics_of_key[row.sample_key] = _measure(texts, lines, grade_of, unit, problems, row.n_samples, kind)
        ours = metrics_of_key[row.sample_key].get(row.metric)
        name = f"rows.jsonl: {row.arm} seed {row.seed} step {row.step} {task} {split} {row.metric}"
        if ours is None:
            yield f"{name}: not a metric of {row.n_samples} samples"
            continue
        for column in COUNTED:
            theirs = getattr(row, column)
            if theirs != ours[column] and not (column == "n_loose" and theirs is None):
                yield f"{name}: {column} is {theirs}, its texts give {ours[column]}"


def grade_lines(
    lines: Sequence[ItemLine], problems: Sequence[Problem], task: str
) -> dict[tuple[int, int], Grade]:
    """Grade every distinct answer once: (line, answer) -> grade."""
    golds, kind = {problem.id: problem.gold for problem in problems}, find_task(task).answer
    places = [(at, which) for at, line in enumerate(lines) for which in range(len(line.answers))]
    answers: list[tuple[str, Answer]] = [(lines[at].item, lines[at].answers[which]) for at, which in places]
    grades = grade_all([Asked(one.text, golds[item], one.finish, kind) for item, one in answers])
    return dict(zip(places, grades, strict=True))


def _measure(
    texts: Texts,
    lines: dict[tuple[str, int], int],
    grade_of: dict[tuple[int, int], Grade],
    unit: int,
    problems: Sequence[Problem],
    samples: int,
    kind: Any,
) -> dict[str, Numbers]:
    """Return metric -> the numbers of one unit, items in the order of the problems as in scoring."""
    verdicts: list[list[Grade]] = []
    tokens: list[int] = []
    for problem in problems:
        verdicts.append([])
        for index in range(samples):
            at = lines[problem.id, index]
            which = texts.lines[at].given[unit]
            assert which != NONE, "check looks at this first"
            verdicts[-1].append(grade_of[at, which])
            tokens.append(texts.lines[at].answers[which].tokens)
    statuses = [grade.status for one in verdicts for grade in one]
    shared: Numbers = {
        "n_samples": samples,
        "n_loose": sum(grade.found == "loose" for one in verdicts for grade in one),
        "n_unparsed": statuses.count(Status.UNPARSED),
        "n_truncated": statuses.count(Status.TRUNCATED),
        "n_ungraded": statuses.count(Status.BAD_GOLD) + statuses.count(Status.ERROR),
        "mean_tokens": float(np.mean(tokens)),
    }
    metrics = [sample_metrics(one, samples, kind) for one in verdicts]
    return {name: shared | _mean([one[name] for one in metrics], problems) for name in metrics[0]}


def _mean(value_i: Sequence[float | None], problems: Sequence[Problem]) -> Numbers:
    known = [(value, problem) for value, problem in zip(value_i, problems, strict=True) if value is not None]
    values = [value for value, _ in known]
    clusters = None
    if any(problem.cluster for problem in problems):
        clusters = [problem.cluster or problem.id for _, problem in known]
    return {
        "n_items": len(values),
        "value": float(np.mean(values)) if values else None,
        "stderr": item_standard_error(values, clusters),
    }


def split_of(name: str) -> tuple[str, str]:
    """Return (task, split) of a file of texts.

    >>> split_of("samples/gsm_symbolic_easy_test.jsonl.xz")
    ('gsm_symbolic_easy', 'test')
    """
    task, _, split = name.removeprefix("samples/").removesuffix(".jsonl.xz").rpartition("_")
    return task, split


def texts_file(task: str, split: str) -> str:
    """Return the name of the file of texts of a split."""
    return f"samples/{task}_{split}.jsonl.xz"


def rows_of(rows: Iterable[ResultRow], task: str, split: str) -> list[ResultRow]:
    """Return the rows of one split that rest on texts."""
    return [row for row in rows if (row.task, row.split) == (task, split) and not row.missing]
