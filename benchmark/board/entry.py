"""What an entry says about itself. The exported schema is entry.schema.json, beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, with_config
from typing_extensions import TypedDict

from benchmark.board.reading import ENTRY, LIMITS, Fault, Limits, parse_json, read_bytes, refuse, shown
from tasks.settings import Settings

SCHEMA_VERSION: Final = 1
SCHEMA_FILE = Path(__file__).with_name("entry.schema.json")

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""Of an entry: it is a folder's name, so it can lead nowhere else."""
Line = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0)]


class Strict(Settings):
    """A model that takes no string for a number and no number for a string."""

    model_config = ConfigDict(strict=True)


@with_config(ConfigDict(strict=True, extra="allow"))
class EntrySuite(TypedDict):
    """The keys of a suite that the board computes with; a suite may have others.

    A mapping, so that it stays what was hashed, to the byte.
    """

    name: Line
    kind: Literal["real", "smoke"]
    arms: Annotated[list[Line], Field(min_length=1, max_length=50)]
    baseline: Line
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=1000)]
    tasks: Annotated[list[Line], Field(min_length=1, max_length=100)]
    endpoints: dict[str, Any]
    temperature: NotRequired[int | float | None]
    top_p: NotRequired[int | float | None]
    samples: NotRequired[int | None]
    max_new_tokens: NotRequired[int | None]


class ArmLabel(Strict):
    """How an arm is called on the board."""

    arm: Line
    """As the rows call it."""
    label: Line
    """The algorithm's name for people."""
    summary: str = Field(default="", max_length=1000)


class DeclaredRun(Strict):
    """One training run that the entry promises to report, however it went."""

    arm: Line
    seed: Seed
    config_hash: Line
    weights: Sha256
    """sha256 of the sorted JSON {step: weights_hash} of its checkpoints."""


class Provenance(Strict):
    """Where the numbers come from."""

    git_sha: Line
    """Of the code that trained; several where runs differ."""
    git_dirty: bool
    versions: dict[str, str] = Field(max_length=100)
    hardware: Line
    tuning_budget: Line
    """Trials spent on choosing this entry's settings, for every arm alike, or that it is not stated."""
    train_seconds: float = Field(ge=0)
    """Training seconds of all runs together."""
    train_tokens: int = Field(ge=0)
    """Completion tokens generated in training by all runs together."""
    cost: str = Field(default="", max_length=300)
    """What it cost, where that is known."""


class Counts(Strict):
    """How much the entry holds; checked against the files."""

    rows: int = Field(ge=1)
    units: int = Field(ge=1)
    """Checkpoints times tasks times splits whose texts are there, each distinct one once."""
    samples: int = Field(ge=1)


class Entry(Strict):
    """entry.json."""

    schema_version: Literal[1] = SCHEMA_VERSION
    id: Id
    title: Line
    author: str = Field(default="", max_length=300)
    """Who trained the runs; without a name nobody can be said to have reproduced somebody else's."""
    kind: Literal["result", "refutation"] = "result"
    """A refutation is an entry like any other: runs that do not find what another entry reports."""
    supersedes: list[Id] = Field(default_factory=list, max_length=50)
    """Entries that this one claims to replace: a claim, until a maintainer confirms it."""
    refutes: list[Id] = Field(default_factory=list, max_length=50)
    """Entries that this one claims not to find again: a claim likewise."""
    base_model: Line
    arms: list[ArmLabel] = Field(min_length=1, max_length=50)
    suite: EntrySuite
    """Resolved, endpoints included."""
    suite_hash: Sha256
    endpoints_hash: Sha256
    grader_version: Line
    runs: list[DeclaredRun] = Field(min_length=1, max_length=1000)
    provenance: Provenance
    counts: Counts


def read_entry(folder: Path, limits: Limits = LIMITS) -> Entry:
    """Read and validate entry.json; it must carry the name of its folder.

    Raises:
        Fault: anything about it.
    """
    raw = parse_json(ENTRY, read_bytes(folder, ENTRY, limits.json_bytes), limits)
    try:
        entry = Entry.model_validate(raw)
    except ValidationError as error:
        problem = error.errors()[0]
        refuse(f"{ENTRY}: {'.'.join(map(str, problem['loc']))}", shown(problem["msg"]))
    if entry.id != folder.name:
        raise Fault(f"{ENTRY}: id {entry.id!r} lies in a folder called {shown(folder.name)!r}")
    return entry


def schema_text() -> str:
    """Return the JSON schema of entry.json, as it stands in entry.schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Entry.model_json_schema()
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
