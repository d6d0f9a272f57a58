"""Grades of stored texts on disk: one Parquet file per unit and grader version, a line per sample.

OUT/grades/GRADER/KEY.parquet holds what grader version GRADER said about the samples of unit KEY (weights on
one split; `benchmark.store.sample_key`). A new grader version writes beside the old ones, so both
can be compared. Everything here follows from texts and grader alone: a file can be deleted and made again.
Only where the store has two texts of one sample, the grades also say which of them counts and stays.

columns     item, index: which sample; lines are sorted by them
            status: `tasks.schema.Status`; score: 1, 0, or null where the grader could not tell
            found: where the answer stood, null where there is none
            vote: what maj@k counts (`tasks.sampled.vote`), "" for a sample that does not vote
            tokens, finish: as the engine said
            text_hash: of text and finish reason, so that a text that was generated anew is graded anew
            detail: why the grader could not tell, else null
metadata    key "grades": the JSON of a `Header`
            key "seal": the sha256 of the whole file with zeros in place of these 64 digits

So a file that is not as it was written is an error and never a wrong number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import UserError
from tasks.files import new_file
from tasks.grading import GRADER_VERSION

FORMAT: Final = 1
AGAIN: Final = "run `python -m benchmark score SUITE` to grade the texts, which needs no model"
SEAL: Final = "seal=sha256:"
UNSEALED: Final = "0" * 64
NAMES = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("item", NAMES, nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("status", NAMES, nullable=False),
        pa.field("score", pa.int8()),
        pa.field("found", NAMES),
        pa.field("vote", NAMES, nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("finish", NAMES, nullable=False),
        pa.field("text_hash", pa.string(), nullable=False),
        pa.field("detail", NAMES),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file of grades says about itself."""

    request: dict[str, Any]
    """What the texts were asked with (`benchmark.texts.generate.sample_request`)."""
    effective: list[dict[str, Any]]
    """What the engine says it did, one for each block of texts."""
    grader: str
    kind: str
    """How answers were compared: `tasks.schema.AnswerKind`."""
    conflicts: int = 0
    """Samples of which the store has two different texts."""
    format: int = FORMAT


def grades_path(out: Path, key: str, grader: str = GRADER_VERSION) -> Path:
    """Return where the grades of a unit lie."""
    return out / "grades" / grader / f"{key}.parquet"


def graders(out: Path) -> list[str]:
    """Return the grader versions that have grades in a folder, the oldest first ("2" before "10")."""
    found = [path.name for path in (out / "grades").glob("*") if path.is_dir()]
    return sorted(found, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def write_grades(path: Path, header: Header, columns: Mapping[str, Any]) -> None:
    """Write a file of grades in one step; the lines are sorted, so equal grades give equal bytes.

    Args:
        path: of `grades_path`.
        header: what the file says about itself.
        columns: name -> values, one per sample, for every column of `SCHEMA`.
    """
    plain = pa.schema([pa.field(one.name, _plain(one.type), one.nullable) for one in SCHEMA])
    table = pa.table({one.name: pa.array(columns[one.name], one.type) for one in plain}, plain)
    table = table.sort_by([("item", "ascending"), ("index", "ascending")]).combine_chunks().cast(SCHEMA)
    with new_file(path) as temporary:
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
            writer.write_table(table)
            content = json.dumps(asdict(header), sort_keys=True)
            writer.add_key_value_metadata({"grades": content, "seal": f"{SEAL}{UNSEALED}"})
        _seal(temporary)


def read_grades(path: Path, columns: Sequence[str] | None = None) -> tuple[Header, pa.Table]:
    """Read a file of grades, whole or some of its columns.

    Raises:
        UserError: it is not there, damaged, or of another format; the message says what to do.
    """
    with _sound(path):
        data = path.read_bytes()
        start, digest = _digest(data)
        if data[start : start + len(digest)] != digest:
            raise ValueError(digest)
        file = pq.ParquetFile(pa.BufferReader(data))
        record = json.loads(file.metadata.metadata[b"grades"])
        if record["format"] != FORMAT:
            raise UserError(
                f"{path}: format {record['format']}, want {FORMAT}; delete the file, then {AGAIN}"
            )
        return Header(**record), file.read(columns and list(columns)).select(
            list(columns or SCHEMA.names)
        ).replace_schema_metadata()


def grades_of(
    out: Path, key: str, columns: Sequence[str], grader: str = GRADER_VERSION
) -> tuple[Header | None, pa.Table]:
    """Return what `read_grades` does for a unit; no header and no lines where nothing was graded yet."""
    path = grades_path(out, key, grader)
    if path.exists():
        return read_grades(path, columns)
    return None, SCHEMA.empty_table().select(list(columns))


def _seal(path: Path) -> None:
    """Write a file's digest into it."""
    start, digest = _digest(path.read_bytes())
    with path.open("r+b") as file:
        file.seek(start)
        file.write(digest)


def _digest(data: bytes) -> tuple[int, bytes]:
    """Return where the digest of a file's bytes stands, and what it should be.

    Raises:
        ValueError: there is no place for it.
    """
    start = data.rindex(SEAL.encode()) + len(SEAL)
    whole = memoryview(data)
    digest = hashlib.sha256(whole[:start])
    digest.update(UNSEALED.encode())
    digest.update(whole[start + len(UNSEALED) :])
    return start, digest.hexdigest().encode()


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Turn what a damaged or missing file raises into one line for a person."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no grades there; {AGAIN}") from None
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError):
        raise UserError(f"{path}: damaged grades; delete the file, then {AGAIN}") from None


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return a column's type without its dictionary, which is made after sorting."""
    return pa.string() if kind == NAMES else kind
