"""One arm of one entry as a row of the board: its cells, curves, tasks and provenance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmark.board.cells import COLUMNS, Cell, Column, count, missing, percent, ratio, share, words
from benchmark.board.charts import Chart, draw_chart
from benchmark.board.declared import unmeasured
from benchmark.board.records import LEVELS
from benchmark.board.summed import Summed
from benchmark.board.ties import Tie, Who
from benchmark.endpoints import MACRO
from benchmark.stats import Interval


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One arm of one entry."""

    id: str
    title: str
    status: str
    """"superseded by ..." or "refuted by ...", confirmed by a maintainer, else ""."""
    claim: str
    """The same as other entries claim it, without consequence, else ""."""
    level: int
    cells: list[tuple[Column, Cell]]
    charts: list[Chart]
    task_columns: list[str]
    tasks: list[tuple[str, list[Cell]]]
    notes: list[str]
    facts: list[tuple[str, str]]

    @property
    def remark(self) -> str:
        """What is said about the entry."""
        return self.status or self.claim

    @property
    def by_column(self) -> dict[str, Cell]:
        """The cells by the key of their column."""
        return {column.key: cell for column, cell in self.cells}


def standing(one: Summed, arm: str, ties: dict[Who, Tie]) -> Standing:
    """Return the row of an arm; `ties` says where it stands in its group."""
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
        claim=one.claim,
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
    cut, silent, unknown = (int(runs[f"n_{why}"].sum()) for why in ("truncated", "unparsed", "ungraded"))
    tasks = [str(task) for task in runs["task"].unique()]
    baseline = entry.suite["baseline"]
    found = {
        "tied": _tied(one, ties.get((entry.id, arm))),
        "algorithm": words(label + (" (baseline)" if arm == baseline else "")),
        "model": words(entry.base_model),
        "auc": percent(numbers["auc"], "no area"),
        "steps": _top_time(one, arm, "steps"),
        "tokens": _top_time(one, arm, "tokens"),
        "speed": _speed(one, arm),
        "peak": percent(numbers["peak"], "no peak"),
        "final": percent(numbers["final"], "no final value"),
        "tasks": _per_task({task: _arm(one, task, arm)["peak"] for task in tasks}),
        "seeds": count(int(numbers["n_seeds"])),
        "samples": count(total),
        "truncated": share(cut, total),
        "extracted": share(total - cut - silent - unknown, total),
        "hardware": words(entry.provenance.hardware),
        "level": Cell(text=one.level, sort=str(LEVELS.index(one.level)), badge="level"),
    }  # fmt: skip
    return found | {key: missing(one.unmeasured) for key in OVER_TASKS if one.unmeasured}


OVER_TASKS = ("auc", "steps", "tokens", "speed", "peak", "final")
"""Columns that speak about all tasks of a suite: an entry that lacks one of them has none."""


def _per_task(peaks: dict[str, Interval]) -> Cell:
    lines = [f"{task} {percent(peak, '').text}" for task, peak in peaks.items()]
    if len(lines) > SHOWN_TASKS:
        lines[SHOWN_TASKS:] = [f"{len(lines) - SHOWN_TASKS} more in the details"]
    return Cell(lines=tuple(lines), sort=" ".join(peaks))


SHOWN_TASKS = 4
"""In the main table; all of them stand in the details."""


def _tied(one: Summed, tie: Tie | None) -> Cell:
    if one.status or one.unmeasured:
        return missing(f"not ranked: {one.status or one.unmeasured}")
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


def timed_task(one: Summed) -> str | None:
    """Return the task whose levels the main table times: the headline, else the first that has levels."""
    with_levels = list(one.crossings["task"].unique())
    if one.headline in with_levels:
        return one.headline
    return str(sorted(with_levels)[0]) if with_levels else None


def _top_time(one: Summed, arm: str, axis: str) -> Cell:
    task = timed_task(one)
    if task is None:
        return missing("the suite declares no levels")
    top = _times(one, task, arm, axis)[-1]
    time = top["restricted"]
    if time is None:
        return missing(top["reason"])
    bounds = (
        ""
        if time.low is None or top["n_right"]
        else f"[{_grouped(f'{time.low:.4g}')}, {_grouped(f'{time.high:.4g}')}]"
    )
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
    task = timed_task(one)
    table = one.differences
    found = table[
        (table["task"] == task)
        & (table["arm"] == arm)
        & (table["endpoint"] == "speed")
        & (table["axis"] == "steps")
    ]
    if task is None or found.empty:
        return missing("the suite declares no levels")
    row = found.iloc[0]
    return ratio(row["difference"], row["reason"], row["bound"])


def _notes(one: Summed, arm: str, cells: dict[str, Cell]) -> list[str]:
    names = {column.key: column.name for column in COLUMNS}
    notes = [f"{names[key]}: {cell.why}" for key, cell in cells.items() if cell.why]
    notes += unmeasured(one.opened.rows)
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
        ("author", entry.author or "not stated"),
        ("verified", one.level),
        *(
            (name, ", ".join(ids))
            for name, ids in (("claims to supersede", entry.supersedes), ("claims to refute", entry.refutes))
            if ids
        ),
        ("code", came_from.git_sha + (" (with uncommitted changes)" if came_from.git_dirty else "")),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(came_from.versions.items()))),
        ("hardware", came_from.hardware),
        ("devices of the rows", ", ".join(sorted({row.device for row in one.opened.rows if row.device}))),
        ("tuning budget", came_from.tuning_budget),
        ("cost", came_from.cost or "not stated"),
        (
            "training, all arms",
            f"{came_from.train_seconds:.0f} s, {came_from.train_tokens} completion tokens",
        ),
        ("suite", f"{entry.suite['name']}, sha256 {entry.suite_hash}"),
        ("endpoints", f"sha256 {entry.endpoints_hash}"),
        ("seeds", ", ".join(str(run.seed) for run in runs)),
        ("configurations", ", ".join(sorted({run.config_hash for run in runs}))),
        ("weights by seed", ", ".join(f"{run.seed}: {run.weights[:16]}" for run in runs)),
    ]
