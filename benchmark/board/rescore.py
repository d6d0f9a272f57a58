"""Every number of an entry again, from its stored texts and the reference answers of this checkout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from benchmark.board.texts import Answer, ItemLine, Texts
from benchmark.rows import ResultRow
from benchmark.scoring.measure import Columns as Numbers
from benchmark.scoring.measure import arrange, item_clusters, measure
from tasks.catalog import find_task, load_problems
from tasks.grading import Asked, check_error_rate, grade_all
from tasks.sampled import vote
from tasks.schema import AnswerKind, Grade, Problem, Split

COUNTED = ("value", "stderr", "n_items", "n_asked", "n_samples", "n_loose", "n_unparsed", "n_truncated",
           "n_ungraded", "mean_tokens")  # fmt: skip
"""The columns of a row that its texts decide."""
LATER = ("n_asked", "n_loose")
"""Those that rows from before them lack."""


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
    metrics_of_key: dict[str, dict[str, Numbers]] = {}
    for row in rows:
        if row.sample_key not in metrics_of_key:
            unit = keys.index(row.sample_key)
            metrics_of_key[row.sample_key] = _measure(texts, grade_of, unit, problems, row.n_samples, kind)
        ours = metrics_of_key[row.sample_key].get(row.metric)
        name = f"rows.jsonl: {row.arm} seed {row.seed} step {row.step} {task} {split} {row.metric}"
        if ours is None:
            yield f"{name}: not a metric of {row.n_samples} samples"
            continue
        for column in COUNTED:
            theirs = getattr(row, column)
            if theirs != ours[column] and not (column in LATER and theirs is None):
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
    grade_of: dict[tuple[int, int], Grade],
    unit: int,
    problems: Sequence[Problem],
    samples: int,
    kind: AnswerKind,
) -> dict[str, Numbers]:
    """Return metric -> the columns of its row, through the code that scoring uses."""
    given = [(line, at, line.given[unit]) for at, line in enumerate(texts.lines)]
    grades = [grade_of[at, which] for _, at, which in given]
    table = pa.table(
        {
            "item": _names([line.item for line, _, _ in given]),
            "index": pa.array([line.index for line, _, _ in given], pa.int32()),
            "status": _names([str(grade.status) for grade in grades]),
            "score": pa.array([grade.score for grade in grades], pa.float64()).cast(pa.int8()),
            "found": _names([grade.found for grade in grades]),
            "vote": _names([_storable(vote(grade, kind)) for grade in grades]),
            "tokens": pa.array([line.answers[which].tokens for line, _, which in given], pa.int64()),
        }
    )
    columns = measure(arrange(table, problems, samples, "entry"), item_clusters(problems))
    return {str(one["metric"]): one for one in columns}


def _names(values: Sequence[str | None]) -> pa.DictionaryArray:
    return pa.array(values, pa.string()).dictionary_encode()


def _storable(text: str) -> str:
    """Return a vote as Arrow can hold it, whatever a model has written; equal votes stay equal."""
    return text.encode(errors="backslashreplace").decode()
