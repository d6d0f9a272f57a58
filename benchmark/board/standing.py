"""Entries into the rows of the board, in groups whose rows can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.board.arm_row import Standing, standing, timed_task
from benchmark.board.declared import digest_of
from benchmark.board.opened import Opened, guarded
from benchmark.board.records import Confirmed, Record, Verb
from benchmark.board.schedule import entry_endpoints
from benchmark.board.summed import Summed, primary_values
from benchmark.board.ties import Who, tied_sets
from benchmark.endpoints import MACRO
from benchmark.rows import ResultRow

APART = ("name", "summary", "arms", "arm", "seeds", "baseline", "max_sequences", "engine", "retention")
"""Keys of a suite in which comparable entries may differ; the engine that was used stands in the rows."""
CLAIMS: tuple[tuple[Verb, str], ...] = (("superseded", "supersedes"), ("refuted", "refutes"))


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows that can be compared with each other, the highest area first."""

    title: str
    note: str
    caption: str
    rows: list[Standing]


def claims(
    entries: Sequence[Opened], records: Mapping[str, Sequence[Record]]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what other entries say about each, as (confirmed by a maintainer, claimed only).

    Args:
        entries: all of them.
        records: id -> what maintainers have noted about it; they confirm for the very content of both.
    """
    confirmed: dict[str, list[str]] = {one.entry.id: [] for one in entries}
    claimed: dict[str, list[str]] = {one.entry.id: [] for one in entries}
    digest = {one.entry.id: one.digest for one in entries}
    for one in sorted(entries, key=lambda other: other.entry.id):
        for verb, key in CLAIMS:
            for target in getattr(one.entry, key):
                finding = Confirmed(level=verb, by_entry=one.entry.id, content=one.digest)
                known = any(
                    record.entry == digest[target] and record.finding == finding for record in records[target]
                )
                (confirmed if known else claimed)[target].append(f"{verb} by {one.entry.id}")
    return (
        {name: ", ".join(said) for name, said in confirmed.items()},
        {name: f"claim: {', '.join(said)}" if said else "" for name, said in claimed.items()},
    )


def group_key(one: Summed) -> str:
    """Return what two entries must agree on before their rows are compared.

    Suite (tasks, decoding, recipe, endpoints), base model, task versions (which hold the grader's), which
    tasks and splits were measured, engine and the steps that were looked at.
    """
    entry, frame = one.opened.entry, one.frame
    return digest_of(
        {
            "suite": {key: value for key, value in entry.suite.items() if key not in APART},
            "model": entry.base_model,
            "versions": sorted({f"{row.task} {row.task_version}" for row in one.opened.rows}),
            "measured": _measured(one.opened.rows),
            "grader": entry.grader_version,
            "engine": sorted(set(frame["engine"])),
            "steps": sorted({int(step) for step in frame["step"]}),
            "base": sorted(set(frame.loc[frame["step"] == 0, "weights_hash"])),
        }
    )


def _measured(rows: Sequence[ResultRow]) -> list[tuple[str, str]]:
    missing = {(row.task, row.split) for row in rows if row.missing}
    return sorted({(row.task, row.split) for row in rows} - missing)


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
    values: dict[Who, dict[int, float]] = {
        (one.opened.entry.id, arm): of_seed
        for one in members
        if not one.status
        for arm, of_seed in primary_values(one).items()
    }
    ties = tied_sets(
        values,
        alpha=endpoints.alpha,
        min_seeds=endpoints.min_pairs,
        sign=1 if first.runs["higher_is_better"].iloc[0] else -1,
    )
    rows = []
    for one in members:
        with guarded(one.opened.entry.id):
            rows += [standing(one, label.arm, ties) for label in one.opened.entry.arms]
    rows.sort(
        key=lambda row: (-float(row.by_column["auc"].sort or "-inf"), row.id, row.by_column["algorithm"].text)
    )
    versions = sorted({f"{row.task} {row.task_version}" for row in first.opened.rows})
    return Group(
        title=_title(first),
        note=(
            f"Primary endpoint: {endpoints.primary} over {endpoints.primary_axis}"
            f"{', mean over tasks' if first.headline == MACRO else ''}. Tied: two-sided t test over "
            f"training seeds "
            f"against the best at {endpoints.alpha:g}, after Holm over {max(len(values) - 1, 0)} rows. "
            f"Brackets: "
            f"{100 * (1 - endpoints.alpha):g} % t interval over training seeds.{_top_level(first)} "
            f"Task versions: {', '.join(versions)}; grader {first.opened.entry.grader_version}; engine "
            f"{', '.join(sorted(set(first.frame['engine'])))}; {first.frame['step'].nunique()} looks up to "
            f"step "
            f"{int(first.frame['step'].max())}."
        ),
        caption="Only rows of this table are compared with each other.",
        rows=rows,
    )


def _top_level(one: Summed) -> str:
    task = timed_task(one)
    if task is None:
        return ""
    of_task = one.crossings.loc[one.crossings["task"] == task, "level"]
    return f" Top level: {100 * of_task.max():.3g} % on {'the mean over tasks' if task == MACRO else task}."
