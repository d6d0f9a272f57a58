"""Is an entry whole, complete and consistent, and do its texts give its numbers again?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.board.asked import check_texts
from benchmark.board.build import pages
from benchmark.board.declared import unmeasured
from benchmark.board.opened import Opened, guarded, open_entry
from benchmark.board.reading import LIMITS, ROWS, Fault, Limits, read_bytes
from benchmark.board.rescore import rescore
from benchmark.board.summed import sum_up
from benchmark.board.texts import NONE, rows_of, split_of, unpack_texts


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What `check_entry` found."""

    faults: list[str]
    notes: list[str]
    """What could not be looked at, and why: then the entry stays declared."""
    rescored: int = 0
    """Rows whose every number came out again."""


def check_entry(
    folder: Path, limits: Limits = LIMITS, report: Callable[[str], None] = lambda line: None
) -> Verdict:
    """Check everything about an entry that needs no model; every number is computed again from its texts.

    What the board will do with it is done here too: an entry that passes does not stop the page.
    """
    try:
        with guarded():
            opened = open_entry(folder, limits)
            pages([sum_up(opened)])
            return _check_samples(opened, limits, report)
    except Fault as fault:
        return Verdict(faults=str(fault).split("\n"), notes=[])


def _check_samples(opened: Opened, limits: Limits, report: Callable[[str], None]) -> Verdict:
    folder, promised = opened.folder, opened.entry.counts
    limits = replace(limits, samples=min(limits.samples, promised.samples))
    faults: list[str] = []
    notes = [f"{ROWS}: {why}; nothing is concluded over tasks" for why in unmeasured(opened.rows)]
    units, samples, rescored = 0, 0, 0
    for name in (name for name in opened.files if name.startswith("samples/")):
        task, split = split_of(name)
        try:
            texts = unpack_texts(name, read_bytes(folder, name, limits.file_bytes), limits)
            rows = rows_of(opened.rows, task, split)
            report(f"{name}: {len(rows)} rows, {sum(len(line.answers) for line in texts.lines)} answers")
            found, why_not = check_texts(name, texts, rows)
            if not found and not why_not:
                found = list(rescore(task, split, texts, rows))  # type: ignore[arg-type]  # check_texts has looked
                rescored += 0 if found else len(rows)
        except Fault as fault:
            found, why_not = [str(fault)], ""
        else:
            units += len(texts.units)
            samples += sum(at != NONE for line in texts.lines for at in line.given)
        faults += found
        notes += [why_not] if why_not else []
    for what, theirs, ours in (("units", promised.units, units), ("samples", promised.samples, samples)):
        if not faults and theirs != ours:
            faults.append(f"entry.json: counts {theirs} {what}, its files hold {ours}")
    return Verdict(faults=faults, notes=notes, rescored=rescored)
