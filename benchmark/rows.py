"""The result row: one measured number with everything needed to trust it. JSONL, append-only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

import pandas as pd
from pydantic import ConfigDict, Field, ValidationError

from tasks.errors import UserError
from tasks.files import writing
from tasks.settings import Settings

SCHEMA: Final = 1
TAIL: Final = 1 << 16
"""Bytes that are read at a time to find the last whole line."""
Count = Annotated[int, Field(ge=0)]
Size = Annotated[float, Field(ge=0)]
"""A number of seconds or tokens, or an error: never negative."""


class ResultRow(Settings):
    """One arm x seed x checkpoint x task x split x metric."""

    model_config = ConfigDict(allow_inf_nan=False)  # missing is null

    schema_version: Literal[1] = SCHEMA
    kind: Literal["real", "smoke"]
    """A smoke row only shows that the machinery works: no table or gate reads it."""
    suite: str
    arm: str
    """An arm of the trainer, or "base" for the untrained policy, which all arms share."""
    model: str
    """The starting policy."""
    step: int
    """Optimizer steps taken; 0 is the untrained policy."""
    seed: int | None
    """Training seed; None for the untrained policy."""
    tokens: Count
    """Completion tokens generated in training so far."""
    train_s: Size
    """Seconds of training so far, scoring excluded."""
    train_device: str = ""
    """What `train_s` was spent on, as the run's manifest has it; "" for the untrained policy and where nobody
    said."""
    task: str
    split: Literal["validation", "test"]
    task_version: str
    """Changes whenever prompt, items or grader change."""
    metric: str
    higher_is_better: bool
    value: float | None
    """In metric units (accuracy in [0, 1]); None when it could not be measured."""
    stderr: Size | None
    """Standard error over items, completions clustered by item; None when n_items < 2."""
    n_items: Count
    """Items that `value` is the mean of: those with enough gradable completions."""
    n_asked: Count | None = None
    """Items that were asked, graded or not; None in rows from before the column."""
    n_samples: int = Field(ge=1)
    """Completions per item."""
    n_loose: Count | None = None
    """Completions whose answer was found neither in a box nor after "the answer is"."""
    n_unparsed: Count
    n_truncated: Count
    n_ungraded: Count
    """Bad gold or a failed grader: left out of `value`."""
    mean_tokens: Size | None
    """Mean completion length in tokens."""
    engine: str
    config_hash: str
    weights_hash: str
    sample_key: str
    """Name of the sample file that `value` was computed from."""
    git_sha: str
    git_dirty: bool
    versions: dict[str, str]
    device: str
    """That generated the texts."""
    scored_at: str
    """ISO 8601, UTC."""
    wall_s: Size | None
    """Seconds of the engine on the blocks that hold the unit's texts, whenever that was; None where nothing
    was measured. A block that only repeats what others hold is not counted."""
    temperature: float | None = None
    top_p: float | None = None
    max_new_tokens: int | None = None
    """How the completions were decoded, as asked for."""
    missing: str = ""
    """Why there is no value although the suite asks for it, such as a set that is not on the machine."""
    weights_note: str = ""
    """How the weights got into the engine, where that was not the plain way, such as "restarted: reason"."""
    n_conflicts: Count = 0
    """Samples of the unit of which the store has two different texts: the engine did not repeat itself."""
    endpoints: str = ""
    """Digest of the suite's endpoints, which were fixed before the row was measured."""
    measured_with: dict[str, str] = Field(default_factory=dict)
    """Versions of what generated the texts: engine, torch, lm-eval. Those of the training are `versions`."""


IDENTITY = ("kind", "suite", "arm", "seed", "step", "task", "split", "metric")
"""Two rows that agree on these columns measure the same thing; the later one replaces the earlier."""
identity = attrgetter(*IDENTITY)
"""What two rows that measure the same thing agree on."""
_cell = attrgetter(*(name for name in IDENTITY if name != "metric"))


def append_rows(path: Path, rows: Iterable[ResultRow]) -> None:
    """Append rows to a JSONL file, creating it and its folder; a last line cut off by a crash is dropped.

    They are on the disk when this returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path), path.open("ab+") as file:
        _drop_torn_line(file)
        for row in rows:
            file.write(json.dumps(row.model_dump(mode="json"), sort_keys=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _drop_torn_line(file: BinaryIO) -> None:
    """Without this the next row would be glued to the torn line, and both would be lost."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - TAIL)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            file.truncate(start + found + 1)
            return
        end = start
    file.truncate(0)


def read_rows(path: Path) -> list[ResultRow]:
    """Read every row; a malformed line is an error that names file and line.

    A last line without its newline was cut off by a crash and is not a row yet: it is left out (`is_torn`).
    """
    if not path.exists():
        raise UserError(f"{path}: no results there; run `python -m benchmark run SUITE` first")
    *lines, tail = path.read_text(encoding="utf-8").split("\n")
    del tail
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(ResultRow.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"]) or "line"
            remedy = "remove the line, or score again into a new folder"
            if where == "schema_version":
                remedy = "it was written by another version of this project: use that one, or remove the line"
            raise UserError(
                f"{path}:{number}: not a result row ({where}: {problem['msg']}); {remedy}"
            ) from None
    return rows


def is_torn(path: Path) -> bool:
    """Say whether the last line of a file of rows was cut off."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        return file.read() not in (b"", b"\n")


def latest_rows(rows: Iterable[ResultRow]) -> list[ResultRow]:
    """Return the latest row of every measured thing, in the order in which each was first measured.

    The metrics of a checkpoint on a split rest on the same samples. Those of another number of samples than
    the last one that was measured there, such as pass@8 before accuracy with 4 samples, are left out.
    """
    latest, samples = {}, {}
    for row in rows:
        latest[identity(row)] = row
        samples[_cell(row)] = row.n_samples
    return [row for row in latest.values() if row.n_samples == samples[_cell(row)]]


def to_frame(rows: Iterable[ResultRow]) -> pd.DataFrame:
    """Return the latest row of every measured thing as a frame, one column per field, smoke rows included.

    `seed` is a nullable integer column: the untrained policy has none, and 3 must not become 3.0. A row from
    before `n_asked` has its `n_items` there.
    """
    records = [
        row.__dict__ | {"n_asked": row.n_items if row.n_asked is None else row.n_asked}
        for row in latest_rows(rows)
    ]
    frame = pd.DataFrame(records, columns=list(ResultRow.model_fields))
    return frame.astype({"seed": "Int64", "value": "float64", "stderr": "float64"})
