"""All entries into the files of the board."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from benchmark.board.declared import trained_weights
from benchmark.board.opened import Opened, guarded, open_entry
from benchmark.board.page import csv_page, html_page, markdown_page
from benchmark.board.reading import Fault, shown
from benchmark.board.records import level_of, read_records, records_path
from benchmark.board.standing import claims, group_key, groups
from benchmark.board.summed import Summed, sum_up
from tasks.errors import UserError


def build(entries: Path) -> dict[str, str]:
    """Return file name -> content of the board.

    Raises:
        UserError: there is no folder of entries.
        Fault: an entry is not sound, or repeats runs of another one; a message may have several lines, one a
            fault. There is no page then.
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
    if copies := _copies(summed):
        raise Fault("\n".join(copies))
    return pages(summed)


def pages(entries: Sequence[Summed]) -> dict[str, str]:
    """Return file name -> content of the board of these entries."""
    tables = groups(entries)
    return {
        "index.html": html_page(tables),
        "board.md": markdown_page(tables),
        "board.csv": csv_page(tables),
    }


def _copies(entries: Sequence[Summed]) -> list[str]:
    """Name ranked entries of one table with the same trained weights: a run counts once among its rivals.

    Entries in different tables may rest on the same runs, looked at with other tasks.
    """
    ranked = [(one, trained_weights(one.opened.rows)) for one in entries if not one.status]
    return [
        f"{other.opened.entry.id}: {len(ours & theirs)} of its trained checkpoints have the weights of "
        f"{one.opened.entry.id}, in the same table, where a run counts once; take one of the two away, train "
        "with other seeds, or let one supersede the other and confirm it"
        for (one, ours), (other, theirs) in combinations(ranked, 2)
        if ours & theirs and group_key(one) == group_key(other)
    ]


def _dangling(opened: list[Opened]) -> list[str]:
    """Name what entries say about entries that are not there, or about themselves."""
    known = {one.entry.id for one in opened}
    return [
        f"{one.entry.id}: speaks of {target!r}, which is {'itself' if target == one.entry.id else 'no entry'}"
        for one in opened
        for target in [*one.entry.supersedes, *one.entry.refutes]
        if target not in known or target == one.entry.id
    ]
