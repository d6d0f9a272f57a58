"""Entries into the rows of the board, in groups whose rows can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.board.cells import COLUMNS, Cell, Column, count, missing, percent, ratio, share, words
from benchmark.board.charts import Chart, draw_chart
from benchmark.board.check import Opened, digest_of
from benchmark.board.records import LEVELS, Level
from benchmark.board.schedule import entry_endpoints, entry_runs
from benchmark.board.ties import Tie, Who, tied_sets
from benchmark.compare import arm_table, crossing_table, paired_differences
from benchmark.curves import learning_curves
from benchmark.endpoints import MACRO
from benchmark.rows import to_frame
from benchmark.summaries import on_axis

APART = ("name", "summary", "arms", "seeds", "baseline", "max_sequences", "engine")
"""Keys of a suite in which comparable entries may differ; the engine that was used stands in the rows."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One arm of one entry."""

    id: str
    title: str
    status: str
    """"superseded by ..." or "refuted by ...", else ""."""
    level: int
    cells: list[tuple[Column, Cell]]
    charts: list[Chart]
    task_columns: list[str]
    tasks: list[tuple[str, list[Cell]]]
    notes: list[str]
    facts: list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows that can be compared with each other, the highest area first."""

    title: str
    note: str
    caption: str
    rows: list[Standing]


@dataclass(frozen=True, kw_only=True)
class Summed:
    """An entry with its statistics."""

    opened: Opened
    level: Level
    status: str
    frame: pd.DataFrame
    curves: pd.DataFrame
    runs: pd.DataFrame
    arms: pd.DataFrame
    crossings: pd.DataFrame
    differences: pd.DataFrame

    @property
    def headline(self) -> str:
        """The task that headline numbers are of: the mean over all of them where there are several."""
        tasks = list(self.runs["task"].unique())
        return MACRO if MACRO in tasks else str(tasks[0])


def sum_up(opened: Opened, level: Level, status: str) -> Summed:
    """Compute everything the board shows of an entry."""
    endpoints = entry_endpoints(opened.entry)
    runs = entry_runs(opened.entry, opened.rows)
    coverage = 1 - endpoints.alpha
    frame = to_frame(opened.rows)
    return Summed(
        opened=opened,
        level=level,
        status=status,
        frame=frame,
        curves=learning_curves(frame),
        runs=runs,
        arms=arm_table(runs, coverage),
        crossings=crossing_table(runs, coverage),
        differences=paired_differences(runs, opened.entry.suite["baseline"], endpoints),
    )


def statuses(entries: Sequence[Opened]) -> dict[str, str]:
    """Return what later entries say about each: it is superseded, it is refuted."""
    said: dict[str, list[str]] = {one.entry.id: [] for one in entries}
    for one in sorted(entries, key=lambda other: other.entry.id):
        for verb, ids in (("superseded", one.entry.supersedes), ("refuted", one.entry.refutes)):
            for target in ids:
                if target in said and target != one.entry.id:
                    said[target].append(f"{verb} by {one.entry.id}")
    return {name: ", ".join(what) for name, what in said.items()}


def group_key(one: Summed) -> str:
    """Return what two entries must agree on before their rows are compared.

    Suite (tasks, decoding, recipe, endpoints), base model, task versions (which hold the grader's), engine and
    the steps that were looked at.
    """
    entry, frame = one.opened.entry, one.frame
    return digest_of(
        {
            "suite": {key: value for key, value in entry.suite.items() if key not in APART},
            "model": entry.base_model,
            "versions": sorted({f"{row.task} {row.task_version}" for row in one.opened.rows}),
            "grader": entry.grader_version,
            "engine": sorted(set(frame["engine"])),
            "steps": sorted({int(step) for step in frame["step"]}),
            "base": sorted(set(frame.loc[frame["step"] == 0, "weights_hash"])),
        }
    )


def groups(entries: Sequence[Summed]) -> list[Group]:
    """Return the tables of the board, in the order of their titles."""
    by_key: dict[str, list[Summed]] = {}
    for one in sorted(entries, key=lambda other: other.opened.entry.id):
        by_key.setdefault(group_key(one), []).append(one)
    found = [(_title(members[0]), key, _group(members)) for key, members in by_key.items()]
    return [group for _, _, group in sorted(found, key=lambda one: one[:2])]


def _title(one: Summed) -> str:
    entry = one.opened.entry
    return f"Suite {entry.suite['name']}, base model {entry.base_model}"


def _group(members: Sequence[Summed]) -> Group:
    first = members[0]
    endpoints = entry_endpoints(first.opened.entry)
    column = on_axis(endpoints.primary, endpoints.primary_axis)
    values: dict[Who, dict[int, float]] = {}
    for one in members:
        of_headline = one.runs[one.runs["task"] == one.headline]
        for arm, runs in of_headline.groupby("arm"):
            if not one.status and runs[column].notna().all():
                values[one.opened.entry.id, str(arm)] = {
                    int(seed): float(value) for seed, value in zip(runs["seed"], runs[column], strict=True)
                }
    ties = tied_sets(
        values,
        alpha=endpoints.alpha,
        min_seeds=endpoints.min_pairs,
        sign=1 if first.runs["higher_is_better"].iloc[0] else -1,
    )
    rows = [_standing(one, label.arm, ties) for one in members for label in one.opened.entry.arms]
    rows.sort(key=lambda row: (-float(dict_of(row)["auc"].sort or "-inf"), row.id, dict_of(row)["algorithm"].text))
    versions = sorted({f"{row.task} {row.task_version}" for row in first.opened.rows})
    return Group(
        title=_title(first),
        note=(
            f"Task versions: {', '.join(versions)}. Grader {first.opened.entry.grader_version}. Engine: "
            f"{', '.join(sorted(set(first.frame['engine'])))}. Steps: up to {int(first.frame['step'].max())}, looked at "
            f"{first.frame['step'].nunique()} times. Only rows of this table are compared with each other."
        ),
        caption=(
            f"Primary endpoint: {endpoints.primary} over {endpoints.primary_axis}"
            f"{', mean over tasks' if first.headline == MACRO else ''}. Tied: two-sided t test over training seeds against the "
            f"best at {endpoints.alpha:g} after Holm over {max(len(values) - 1, 0)} rows. Brackets: "
            f"{100 * (1 - endpoints.alpha):g} % t interval over training seeds.{_top_level(first)}"
        ),
        rows=rows,
    )


def _top_level(one: Summed) -> str:
    task = _timed_task(one)
    if task is None:
        return ""
    of_task = one.crossings.loc[one.crossings["task"] == task, "level"]
    return f" Top level: {100 * of_task.max():.3g} % on {'the mean over tasks' if task == MACRO else task}."


def dict_of(row: Standing) -> dict[str, Cell]:
    """Return the cells of a row by column."""
    return {column.key: cell for column, cell in row.cells}


def _standing(one: Summed, arm: str, ties: dict[Who, Tie]) -> Standing:
    entry = one.opened.entry
    names = {label.arm: label.label for label in entry.arms}
    cells = _cells(one, arm, ties, names[arm])
    tasks = [str(task) for task in one.runs["task"].unique()]
    curves = one.curves
    charts = [
        draw_chart(task, curves[curves["task"] == task], arm, entry.suite["baseline"], names)
        for task in tasks
        if task != MACRO
    ]
    columns = ("auc", "peak", "final")
    return Standing(
        id=entry.id,
        title=entry.title,
        status=one.status,
        level=LEVELS.index(one.level),
        cells=[(column, cells[column.key]) for column in COLUMNS],
        charts=charts,
        task_columns=["area under the curve", "peak on test", "final", "steps to levels", "tokens to levels"],
        tasks=[
            (
                "mean over tasks" if task == MACRO else task,
                [*(percent(_arm(one, task, arm)[name], "") for name in columns),
                 *(_all_times(one, task, arm, axis) for axis in ("steps", "tokens"))],
            )
            for task in tasks
        ],
        notes=_notes(one, arm, cells),
        facts=_facts(one, arm),
    )  # fmt: skip


def _arm(one: Summed, task: str, arm: str) -> dict[str, Any]:
    found = one.arms[(one.arms["task"] == task) & (one.arms["arm"] == arm)]
    return {str(key): value for key, value in found.iloc[0].items()}


def _cells(one: Summed, arm: str, ties: dict[Who, Tie], label: str) -> dict[str, Cell]:
    entry, headline = one.opened.entry, one.headline
    numbers = _arm(one, headline, arm)
    runs = one.runs[(one.runs["arm"] == arm) & (one.runs["task"] != MACRO)]
    total = int(runs["n_completions"].sum())
    cut, silent = int(runs["n_truncated"].sum()), int(runs["n_unparsed"].sum())
    tasks = [str(task) for task in runs["task"].unique()]
    per_task = {task: percent(_arm(one, task, arm)["peak"], "") for task in tasks}
    baseline = entry.suite["baseline"]
    return {
        "tied": _tied(one, ties.get((entry.id, arm))),
        "algorithm": words(label + (" (baseline)" if arm == baseline else "")),
        "model": words(entry.base_model),
        "auc": percent(numbers["auc"], "no area"),
        "steps": _top_time(one, arm, "steps"),
        "tokens": _top_time(one, arm, "tokens"),
        "speed": _speed(one, arm),
        "peak": percent(numbers["peak"], "no peak"),
        "final": percent(numbers["final"], "no final value"),
        "tasks": Cell(lines=tuple(f"{task} {cell.text}" for task, cell in list(per_task.items())[:SHOWN_TASKS])
                      + ((f"{len(tasks) - SHOWN_TASKS} more in the details",) if len(tasks) > SHOWN_TASKS else ()),
                      sort=" ".join(tasks)),
        "seeds": count(int(numbers["n_seeds"])),
        "samples": count(total),
        "truncated": share(cut, total),
        "extracted": share(total - cut - silent, total),
        "hardware": words(entry.provenance.hardware),
        "level": Cell(text=one.level, sort=str(LEVELS.index(one.level)), badge="level"),
    }  # fmt: skip


SHOWN_TASKS = 4
"""In the main table; all of them stand in the details."""


def _tied(one: Summed, tie: Tie | None) -> Cell:
    if one.status:
        return missing(f"not ranked: {one.status}")
    if tie is None:
        return missing("no primary endpoint for every seed")
    if tie.place == "no statement":
        return missing(tie.reason)
    order = {"best": "0", "tied": "1", "below": "2"}
    return Cell(text=tie.place, sort=order[tie.place], badge=tie.place)


def _times(one: Summed, task: str, arm: str, axis: str) -> list[dict[str, Any]]:
    table = one.crossings
    chosen = table[(table["task"] == task) & (table["arm"] == arm) & (table["axis"] == axis)]
    return [{str(key): value for key, value in row.items()} for row in chosen.to_dict("records")]


def _timed_task(one: Summed) -> str | None:
    """Return the task whose levels are timed in the main table: the headline, else the first that has levels."""
    with_levels = list(one.crossings["task"].unique())
    if one.headline in with_levels:
        return one.headline
    return str(sorted(with_levels)[0]) if with_levels else None


def _top_time(one: Summed, arm: str, axis: str) -> Cell:
    task = _timed_task(one)
    if task is None:
        return missing("the suite declares no levels")
    top = _times(one, task, arm, axis)[-1]
    time = top["restricted"]
    if time is None:
        return missing(top["reason"])
    bounds = "" if time.low is None or top["n_right"] else f"[{_grouped(f'{time.low:.4g}')}, {_grouped(f'{time.high:.4g}')}]"
    reached = f"{top['n_reached']} of {top['n']} seeds" if top["n_right"] else ""
    return Cell(text=_grouped(top["text"]), sort=f"{time.mean:.6f}", range=bounds or reached)


def _all_times(one: Summed, task: str, arm: str, axis: str) -> Cell:
    times = _times(one, task, arm, axis)
    if not times:
        return missing("no levels for this task")
    lines = tuple(f"{100 * time['level']:.3g} %: {_grouped(time['text']) or '–'}" for time in times)
    return Cell(lines=lines)


def _grouped(text: str) -> str:
    """Write a number such as 4.915e+04 plainly.

    >>> _grouped(">4.915e+04"), _grouped("12.5")
    ('>49 150', '12.5')
    """
    sign = text[: len(text) - len(text.lstrip("<>="))]
    number = text[len(sign) :]
    if not number or abs(float(number)) < 1000:
        return text
    return f"{sign}{float(number):,.0f}".replace(",", " ")


def _speed(one: Summed, arm: str) -> Cell:
    if arm == one.opened.entry.suite["baseline"]:
        return missing("this is the baseline")
    task = _timed_task(one)
    table = one.differences
    found = table[
        (table["task"] == task) & (table["arm"] == arm) & (table["endpoint"] == "speed") & (table["axis"] == "steps")
    ]
    if task is None or found.empty:
        return missing("the suite declares no levels")
    row = found.iloc[0]
    return ratio(row["difference"], row["reason"])


def _notes(one: Summed, arm: str, cells: dict[str, Cell]) -> list[str]:
    names = {column.key: column.name for column in COLUMNS}
    notes = [f"{names[key]}: {cell.reason}" for key, cell in cells.items() if cell.reason]
    lost = sorted({row.missing for row in one.opened.rows if row.missing})
    notes += [f"not measured: {reason}" for reason in lost]
    collapsed = int(_arm(one, one.headline, arm)["n_collapsed"])
    if collapsed:
        notes.append(f"{collapsed} runs lost most of what they had gained")
    return notes


def _facts(one: Summed, arm: str) -> list[tuple[str, str]]:
    entry = one.opened.entry
    came_from = entry.provenance
    runs = [run for run in entry.runs if run.arm == arm]
    return [
        ("entry", f"{entry.id}, a {entry.kind}, sha256 {one.opened.digest}"),
        ("title", entry.title),
        ("verified", one.level),
        *((name, ", ".join(ids)) for name, ids in (("supersedes", entry.supersedes), ("refutes", entry.refutes)) if ids),
        ("code", came_from.git_sha + (" (with uncommitted changes)" if came_from.git_dirty else "")),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(came_from.versions.items()))),
        ("hardware", came_from.hardware),
        ("devices of the rows", ", ".join(sorted({row.device for row in one.opened.rows if row.device}))),
        ("tuning budget", came_from.tuning_budget),
        ("cost", came_from.cost or "not stated"),
        ("training, all arms", f"{came_from.train_seconds:.0f} s, {came_from.train_tokens} completion tokens"),
        ("suite", f"{entry.suite['name']}, sha256 {entry.suite_hash}"),
        ("endpoints", f"sha256 {entry.endpoints_hash}"),
        ("seeds", ", ".join(str(run.seed) for run in runs)),
        ("configurations", ", ".join(sorted({run.config_hash for run in runs}))),
        ("weights by seed", ", ".join(f"{run.seed}: {run.weights[:16]}" for run in runs)),
    ]
