"""Grades of stored texts on disk: one Parquet file per unit and grader version, a line per sample.

OUT/grades/GRADER/KEY.parquet holds what grader version GRADER said about the samples of unit KEY (a checkpoint's
weights on one split; `benchmark.store.sample_key`). A new grader version writes beside the old ones, so both
can be compared. Everything here follows from texts and grader alone: a file can be deleted and made again.

columns     item, index: which sample; lines are sorted by them
            status: `tasks.schema.Status`; score: 1, 0, or null where the grader could not tell
            found: where the answer stood, null where there is none
            vote: what maj@k counts (`tasks.sampled.vote`), "" for a sample that does not vote
            tokens, finish: as the engine said
            text_hash: of text and finish reason, so that a text that was generated anew is graded anew
metadata    key "grades": the JSON of a `Header`

Pages carry checksums and the header a digest, so a damaged file is an error and never a wrong number.
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
    ]
)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file of grades says about itself."""

    request: dict[str, Any]
    """What the texts were asked with (`benchmark.generate.sample_request`)."""
    effective: list[dict[str, Any]]
    """What the engine says it did, one for each block of texts."""
    grader: str
    kind: str
    """How answers were compared: `tasks.schema.AnswerKind`."""
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
    content = json.dumps(asdict(header), sort_keys=True)
    metadata = {"grades": content, "digest": _digest(content)}
    with new_file(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(metadata), temporary, compression="zstd", write_page_checksum=True
        )


def read_header(path: Path) -> Header:
    """Return what a file of grades says about itself; errors as `read_grades`."""
    with _sound(path):
        return _header(pq.read_schema(path), path)


def read_grades(path: Path, columns: Sequence[str] | None = None) -> tuple[Header, pa.Table]:
    """Read a file of grades, whole or some of its columns.

    Raises:
        UserError: it is not there, damaged, or of another format; the message says what to do.
    """
    with _sound(path):
        table = pq.read_table(
            path, columns=None if columns is None else list(columns), page_checksum_verification=True
        )
        header = _header(table.schema, path)
        wanted = [one for one in SCHEMA if columns is None or one.name in columns]
        if sorted(map(str, table.schema.remove_metadata())) != sorted(map(str, wanted)):
            raise ValueError(table.schema)
        return header, table.select([one.name for one in wanted])


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


def _header(schema: pa.Schema, path: Path) -> Header:
    metadata = schema.metadata or {}
    content = metadata[b"grades"].decode()
    if _digest(content) != metadata[b"digest"].decode():
        raise ValueError(content)
    record = json.loads(content)
    if record["format"] != FORMAT:
        raise UserError(f"{path}: format {record['format']}, want {FORMAT}; delete the file, then {AGAIN}")
    return Header(**record)


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return a column's type without its dictionary, which is made after sorting."""
    return pa.string() if kind == NAMES else kind
