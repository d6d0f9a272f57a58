"""Files of grades: what was written comes back, equal grades are equal bytes, and damage is never read."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmark.scoring import grades
from benchmark.scoring.grades import SCHEMA, Header, graders, grades_path, read_grades, write_grades
from tasks.errors import UserError

HEADER = Header(
    request={"task": "add2"}, effective=[{"device": "cpu", "seconds": 1.5}], grader="2", kind="math"
)
ROWS: list[dict[str, Any]] = [
    {
        "item": f"add2/test/{at // 3:04d}",
        "index": at % 3,
        "status": ("correct", "wrong", "error")[at % 3],
        "score": (1, 0, None)[at % 3],
        "found": ("box", None)[at % 2],
        "vote": ("\0right", "λ 😀", "")[at % 3],
        "tokens": at,
        "finish": "stop",
        "text_hash": f"{at:016x}",
        "detail": (None, None, "no verdict")[at % 3],
    }
    for at in range(60)
]


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in SCHEMA.names}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = grades_path(tmp_path, "abc", "2")
    write_grades(path, HEADER, columns(ROWS))
    return path


def test_grades_come_back_as_they_were_written(path: Path) -> None:
    header, table = read_grades(path)
    assert header == HEADER
    assert table.to_pylist() == ROWS
    assert read_grades(path, ["tokens", "item"])[1].to_pylist() == [
        {"item": row["item"], "tokens": row["tokens"]} for row in ROWS
    ]
    assert [one.name for one in path.parent.iterdir()] == ["abc.parquet"]  # no temporary file stays


def test_equal_grades_are_equal_bytes_whatever_their_order(path: Path) -> None:
    shuffled = random.Random(0).sample(ROWS, len(ROWS))
    other = path.with_name("other.parquet")
    write_grades(other, HEADER, columns(shuffled))
    assert other.read_bytes() == path.read_bytes()


def test_no_flipped_byte_is_read(path: Path) -> None:
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        with pytest.raises(UserError, match="damaged grades; delete the file, then run") as caught:
            read_grades(path)
        assert "\n" not in str(caught.value)


def test_anyone_reads_the_file(path: Path) -> None:
    assert (
        pd.read_parquet(path).astype(object).where(lambda one: one.notna(), None).to_dict("records") == ROWS
    )


def test_a_header_may_quote_the_seal(path: Path) -> None:
    header = replace(HEADER, request={"text": f"{grades.SEAL}{grades.UNSEALED}"})
    write_grades(path, header, columns(ROWS))
    assert read_grades(path)[0] == header


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("item,index\n"),
        lambda path: pq.write_table(pq.read_table(path).replace_schema_metadata(None), path),
        lambda path: pq.write_table(pq.read_table(path).drop_columns(["vote"]), path),
        lambda path: pq.write_table(pq.read_table(path).append_column("more", [[1] * 60]), path),
    ],
)
def test_a_damaged_file_is_refused_by_name(path: Path, harm: Callable[[Path], None]) -> None:
    harm(path)
    with pytest.raises(UserError, match="damaged grades; delete the file") as caught:
        read_grades(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_file_and_another_format_say_what_to_run(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no grades there; run `python -m benchmark score SUITE`"):
        read_grades(path.with_name("no.parquet"))
    write_grades(path, replace(HEADER, format=2), columns(ROWS))
    with pytest.raises(UserError, match="format 2, want 1; delete the file, then run"):
        read_grades(path)
    assert asdict(HEADER)["format"] == grades.FORMAT == 1


def test_grader_versions_are_numbers(tmp_path: Path) -> None:
    assert graders(tmp_path) == []
    for name in ("10", "2", "beta"):
        (tmp_path / "grades" / name).mkdir(parents=True)
    (tmp_path / "grades" / "3").write_text("")
    assert graders(tmp_path) == ["2", "10", "beta"]
