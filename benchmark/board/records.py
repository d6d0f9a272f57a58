"""What maintainers have verified about an entry. It lies outside the entry, which its author writes.

results/verification/ID.jsonl, append-only, one record a line. A record names the content of the whole entry
by its digest, so it says nothing about an entry that was changed afterwards.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from benchmark.board.entry import Id, Line, Sha256, Strict
from benchmark.board.reading import LIMITS, Fault, parse_json, refuse, shown
from tasks.files import append_line

Level = Literal["declared", "re-scored", "re-evaluated", "reproduced"]
LEVELS: Final[tuple[Level, ...]] = ("declared", "re-scored", "re-evaluated", "reproduced")
"""Rising. Declared: files, hashes and counts hold together. Re-scored: every number came out again from the
stored texts. Re-evaluated: a random part of the texts was generated again from the checkpoints and scores
alike. Reproduced: trained again by somebody else with equivalent results."""


class Rescored(Strict):
    """Every number came out again."""

    level: Literal["re-scored"] = "re-scored"
    grader_version: Line
    rows: int = Field(ge=1)


class Reevaluated(Strict):
    """Some units were generated again; scores were compared item by item."""

    level: Literal["re-evaluated"] = "re-evaluated"
    engine: Line
    units: int = Field(ge=1)
    items: int = Field(ge=2)
    """Distinct ones; the differences of an item are averaged over these units."""
    identical: float = Field(ge=0, le=1)
    """Share of texts that came out the same."""
    difference: float
    """Mean score of the new texts minus that of the old ones."""
    margin: float
    p_equivalent: float | None
    """Of the equivalence test paired by item; None where all texts are identical."""


class Reproduced(Strict):
    """Another entry trained the same arms again."""

    level: Literal["reproduced"] = "reproduced"
    reproduction: Id
    """The entry that did."""
    content: Sha256
    """Its digest."""
    reproduced_by: Line
    """Its author."""
    margin: float
    largest_p: float = Field(ge=0, le=1)
    """Of the equivalence tests of all arms: the least convincing one."""


Verb = Literal["superseded", "refuted"]


class Confirmed(Strict):
    """What another entry claims about this one is so. No level: the entry is not ranked any more."""

    level: Verb
    by_entry: Id
    """The entry that claims it."""
    content: Sha256
    """Its digest."""


class Record(Strict):
    """One line."""

    entry: Sha256
    """sha256 of the entry's SHA256SUMS."""
    by: Line
    finding: Annotated[Rescored | Reevaluated | Reproduced | Confirmed, Field(discriminator="level")]


def records_path(entries: Path, entry_id: str) -> Path:
    """Return where the records of an entry lie: beside the folder of all entries."""
    return entries.parent / "verification" / f"{entry_id}.jsonl"


def append_record(path: Path, record: Record) -> None:
    """Add a record; the same one again adds nothing."""
    line = json.dumps(record.model_dump(mode="json"), sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or line not in path.read_text(encoding="utf-8").splitlines():
        append_line(path, line)


def read_records(path: Path) -> list[Record]:
    """Read the records of an entry; none where there is no file.

    Raises:
        Fault: a line that is no record.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    if len(content) > LIMITS.json_bytes:
        refuse(path.name, f"more than {LIMITS.json_bytes} bytes")
    records = []
    for number, line in enumerate(content.splitlines(), start=1):
        where = f"verification/{path.name}:{number}"
        try:
            records.append(Record.model_validate(parse_json(where, line)))
        except ValidationError as error:
            raise Fault(f"{where}: {shown(error.errors()[0]['msg'])}") from None
    return records


def level_of(records: list[Record], digest: str) -> Level:
    """Return the highest level that records of this very content give."""
    found = {record.finding.level for record in records if record.entry == digest}
    return next((level for level in reversed(LEVELS) if level in found), "declared")
