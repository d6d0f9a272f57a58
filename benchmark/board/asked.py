"""Do the texts of an entry belong to its rows: of these weights and items, each as often as declared?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from benchmark.board.entry import Entry
from benchmark.board.reading import ROWS, shown
from benchmark.board.texts import NONE, Texts, split_of
from benchmark.rows import ResultRow
from tasks.catalog import items_digest, load_problems, task_version
from tasks.decoding import task_decoding
from tasks.errors import MissingSet, UserError
from tasks.schema import SCORED

DECODED = ("samples", "temperature", "top_p", "max_new_tokens")
"""Keys of a suite that say how its tasks are decoded."""


def decoding_faults(entry: Entry, rows: Sequence[ResultRow]) -> Iterator[str]:
    """Yield, for each task, the first row that was not decoded as the entry's suite asks."""
    asked: dict[str, Any] = {key: entry.suite.get(key) for key in DECODED}
    for task in entry.suite["tasks"]:
        try:
            decoding = task_decoding(task, **asked)
        except UserError as error:
            yield f"entry.json: {shown(error)}"
            continue
        want: dict[str, Any] = asdict(decoding.sampling) | {"n_samples": decoding.samples}
        for row in (row for row in rows if row.task == task and not row.missing):
            wrong = next((key for key, value in want.items() if getattr(row, key) != value), None)
            if wrong:
                yield (
                    f"{ROWS}: {shown(row.arm)} seed {row.seed} step {row.step} {task}: {wrong} is "
                    f"{shown(getattr(row, wrong))}, its suite asks for {want[wrong]}"
                )
                break


def check_texts(name: str, texts: Texts, rows: Sequence[ResultRow]) -> tuple[list[str], str]:
    """Return (faults, why its numbers cannot be computed again) of a file of texts and its rows."""
    task, split = split_of(name)
    keys = {row.sample_key for row in rows}
    if not rows:
        return [f"{name}: no row rests on it"], ""
    if keys != texts.units.keys():
        return [
            f"{name}: its units are not those that the rows name ({len(keys ^ texts.units.keys())} differ)"
        ], ""
    faults = [*_requests(name, texts, rows)]
    named = next((one for one in SCORED if one == split), None)
    if faults or named is None:
        return faults or [f"{name}: no split that is scored"], ""
    versions = {row.task_version for row in rows}
    try:
        ours = {task_version(task)}
        if versions != ours:
            return [], f"{name}: scored as task version {shown(min(versions))}, this checkout has {min(ours)}"
        problems = load_problems(task, named)
    except MissingSet as error:
        return [], f"{name}: not computed again, {error}"
    except UserError as error:
        return [f"{name}: {shown(error)}"], ""
    if {head.request.get("items") for head in texts.units.values()} != {items_digest(task, named)}:
        return [f"{name}: was asked with other items than this checkout has for {task} {split}"], ""
    return [*_samples(name, texts, {problem.id for problem in problems}, rows[0].n_samples)], ""


def _requests(name: str, texts: Texts, rows: Sequence[ResultRow]) -> Iterator[str]:
    """The row says what was asked; the unit's key is the hash of what was asked."""
    for row in rows:
        request = texts.units[row.sample_key].request
        claims = {"weights": row.weights_hash, "task": row.task, "split": row.split, "engine": row.engine}
        claims |= {key: getattr(row, key) for key in ("temperature", "top_p", "max_new_tokens")}
        for key, value in claims.items():
            if request.get(key) != value:
                yield (
                    f"{name}: {shown(row.arm)} seed {row.seed} step {row.step}: {key} is {shown(value)}, "
                    f"asked was {shown(request.get(key))}"
                )
                return


def _samples(name: str, texts: Texts, items: set[str], samples: int) -> Iterator[str]:
    """Missing is not wrong: every unit has exactly its samples of every item, each with a seed of its own."""
    if len(items) * samples != len(
        texts.lines
    ):  # before a set of that size is made: it is a stranger's number
        yield f"{name}: {len(texts.lines)} lines do not cover {len(items)} items x {samples} samples"
        return
    want = {(item, index) for item in items for index in range(samples)}
    if want != {(line.item, line.index) for line in texts.lines}:
        yield f"{name}: samples of other items, or other numbers of them, than {len(items)} items x {samples}"
        return
    seeds: dict[tuple[str, int], set[int]] = defaultdict(set)
    for line in texts.lines:
        for unit, which in enumerate(line.given):
            if which == NONE:
                yield f"{name}: a unit has no sample {line.index} of {shown(line.item)}"
                return
            seeds[line.item, unit].add(line.answers[which].seed)
    if any(len(found) != samples for found in seeds.values()):
        yield f"{name}: two samples of one item were drawn with one seed"
        return
    if any(set(line.given) != set(range(len(line.answers))) for line in texts.lines):
        yield f"{name}: an answer that no unit gave"
