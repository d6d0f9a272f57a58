"""All entries into the files of the board."""

from __future__ import annotations

from pathlib import Path

from benchmark.board.check import Opened, guarded, open_entry
from benchmark.board.page import csv_page, html_page, markdown_page
from benchmark.board.reading import Fault, shown
from benchmark.board.records import level_of, read_records, records_path
from benchmark.board.standing import claims, groups
from benchmark.board.summed import sum_up
from tasks.errors import UserError


def build(entries: Path) -> dict[str, str]:
    """Return file name -> content of the board.

    Raises:
        UserError: there is no folder of entries.
        Fault: an entry is not sound; a message may have several lines, one a fault. There is no page then.
    """
    if not entries.is_dir():
        raise UserError(
            f"{entries}: no such folder; `python -m benchmark board pack SUITE --id NAME` makes an entry"
        )
    opened, faults = [], []
    for folder in sorted(entries.iterdir()):
        try:
            with guarded():
                opened.append(open_entry(folder))
        except Fault as fault:
            faults += [f"{shown(folder.name)}: {line}" for line in str(fault).split("\n")]
    faults += _dangling(opened)
    if faults:
        raise Fault("\n".join(faults))
    records = {one.entry.id: read_records(records_path(entries, one.entry.id)) for one in opened}
    confirmed, claimed = claims(opened, records)
    summed = []
    for one in opened:
        name = one.entry.id
        with guarded(name):
            summed.append(sum_up(one, level_of(records[name], one.digest), confirmed[name], claimed[name]))
    tables = groups(summed)
    return {
        "index.html": html_page(tables),
        "board.md": markdown_page(tables),
        "board.csv": csv_page(tables),
    }


def _dangling(opened: list[Opened]) -> list[str]:
    """Name what entries say about entries that are not there, or about themselves."""
    known = {one.entry.id for one in opened}
    return [
        f"{one.entry.id}: speaks of {target!r}, which is {'itself' if target == one.entry.id else 'no entry'}"
        for one in opened
        for target in [*one.entry.supersedes, *one.entry.refutes]
        if target not in known or target == one.entry.id
    ]
