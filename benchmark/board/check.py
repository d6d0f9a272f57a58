"""Is an entry whole, complete and consistent, and do its texts give its numbers again?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.board.asked import check_texts, decoding_faults
from benchmark.board.declared import declaration_faults, read_entry_rows, unmeasured
from benchmark.board.entry import Entry, read_entry
from benchmark.board.reading import (
    LIMITS,
    ROWS,
    SUMS,
    Fault,
    Limits,
    check_sums,
    list_files,
    read_bytes,
    shown,
)
from benchmark.board.rescore import rescore
from benchmark.board.schedule import schedule_faults
from benchmark.board.texts import NONE, rows_of, split_of, unpack_texts
from benchmark.rows import ResultRow
from tasks.errors import InfrastructureError


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An entry whose files are whole and whose declarations hold together; its texts have not been opened."""

    folder: Path
    entry: Entry
    rows: list[ResultRow]
    files: dict[str, int]

    @property
    def digest(self) -> str:
        """sha256 of SHA256SUMS: names the content of the whole entry."""
        return hashlib.sha256((self.folder / SUMS).read_bytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What `check_entry` found."""

    faults: list[str]
    notes: list[str]
    """What could not be looked at, and why: then the entry stays declared."""
    rescored: int = 0
    """Rows whose every number came out again."""


@contextmanager
def guarded(name: str = "") -> Iterator[None]:
    """Make a fault of whatever an entry's content makes the code trip over; `name` goes before it.

    Faults keep their message; that the machine failed (`InfrastructureError`) is not the entry's.
    """
    try:
        yield
    except (Fault, InfrastructureError):
        raise
    except Exception as error:  # a stranger's content: whatever it is, it is one entry's fault
        where = f"{shown(name)}: " if name else ""
        raise Fault(f"{where}cannot be checked, {type(error).__name__}: {shown(error)}") from error


def open_entry(folder: Path, limits: Limits = LIMITS) -> Opened:
    """Read an entry without its texts.

    Raises:
        Fault: it is not whole or does not hold together; a message may have several lines, one a fault.
    """
    files = list_files(folder, limits)
    faults = check_sums(folder, files, limits)
    if faults:
        raise Fault("\n".join(faults))
    entry = read_entry(folder, limits)
    rows = read_entry_rows(read_bytes(folder, ROWS, limits.file_bytes), limits)
    opened = Opened(folder=folder, entry=entry, rows=rows, files=files)
    faults = declaration_faults(entry, rows, files)
    faults = faults or [*decoding_faults(entry, rows), *schedule_faults(entry, rows)]
    if faults:
        raise Fault("\n".join(faults))
    return opened


def check_entry(
    folder: Path, limits: Limits = LIMITS, report: Callable[[str], None] = lambda line: None
) -> Verdict:
    """Check everything about an entry that needs no model; every number is computed again from its texts."""
    try:
        with guarded():
            opened = open_entry(folder, limits)
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
