"""Was an entry looked at often enough? A level that is reached before the first look times nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from benchmark.analysis.compare import crossing_table
from benchmark.analysis.summaries import summarize_runs
from benchmark.board.entry import Entry
from benchmark.board.reading import shown
from benchmark.endpoints import Endpoints
from benchmark.rows import ResultRow, to_frame
from tasks.errors import UserError
from tasks.settings import build_settings


def entry_endpoints(entry: Entry) -> Endpoints:
    """Return the declared endpoints of an entry.

    Raises:
        UserError: they are none of this version of the code.
    """
    return build_settings(Endpoints, entry.suite["endpoints"], source="entry.json [suite.endpoints]")


def entry_runs(entry: Entry, rows: Sequence[ResultRow]) -> pd.DataFrame:
    """Return `summarize_runs` of an entry under its own endpoints.

    Raises:
        UserError: the rows are no complete learning curves.
    """
    return summarize_runs(to_frame(rows), endpoints=entry_endpoints(entry))


def schedule_faults(entry: Entry, rows: Sequence[ResultRow]) -> Iterator[str]:
    """Yield what is wrong with endpoints and cadence; rows that make no complete curves are said here too."""
    try:
        endpoints = entry_endpoints(entry)
        if endpoints.digest() != entry.endpoints_hash:
            yield "entry.json: endpoints_hash is not the hash of the endpoints in its suite"
            return
        crossings = crossing_table(entry_runs(entry, rows))
    except UserError as error:
        yield shown(error)
        return
    late = crossings[(crossings["axis"] == "steps") & (2 * crossings["n_left"].fillna(0) > crossings["n"])]
    for row in late.to_dict("records"):
        yield (
            f"rows.jsonl: {row['n_left']} of {row['n']} runs of {shown(row['arm'])} are above level "
            f"{row['level']:g} of "
            f"{shown(row['task'])} at the first look; look earlier, a time that is cut off on the left is "
            f"none"
        )
