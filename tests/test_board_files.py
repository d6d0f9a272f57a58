"""`board check` on hostile folders: links, devices, stray files, sums that lie, sizes without end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from entries import faults

from benchmark.board.reading import Fault, Limits, list_files, read_bytes


def link_file(entry: Path) -> None:
    (entry / "rows.jsonl").rename(entry.parent / "elsewhere")
    (entry / "rows.jsonl").symlink_to(entry.parent / "elsewhere")


def link_folder(entry: Path) -> None:
    (entry / "samples").rename(entry.parent / "elsewhere")
    (entry / "samples").symlink_to(entry.parent / "elsewhere")


def device(entry: Path) -> None:
    (entry / "entry.json").unlink()
    (entry / "entry.json").symlink_to("/dev/zero")


def pipe(entry: Path) -> None:
    (entry / "entry.json").unlink()
    os.mkfifo(entry / "entry.json")


def stray(entry: Path) -> None:
    (entry / "run.py").write_text("print('hello')")


def hidden_folder(entry: Path) -> None:
    (entry / ".git").mkdir()


def deeper(entry: Path) -> None:
    (entry / "samples" / "more").mkdir()


def pickle(entry: Path) -> None:
    (entry / "samples" / "sums1_test.pkl").write_bytes(b"\x80\x04.")


FOLDERS: list[tuple[Callable[[Path], None], str]] = [
    (link_file, "rows.jsonl: not a regular file"),
    (link_folder, "samples: not a regular file"),
    (device, "entry.json: not a regular file"),
    (pipe, "entry.json: not a regular file"),
    (stray, "run.py: does not belong in an entry"),
    (hidden_folder, ".git: not a regular file"),
    (deeper, "samples/more: not a regular file"),
    (pickle, "samples/sums1_test.pkl: does not belong"),
]


@pytest.mark.parametrize(("change", "message"), FOLDERS, ids=lambda one: getattr(one, "__name__", ""))
def test_only_regular_files_of_known_names(entry: Path, change: Callable[[Path], None], message: str) -> None:
    change(entry)
    assert faults(entry).startswith(message)


def test_a_link_to_an_entry_is_none(entry: Path, tmp_path: Path) -> None:
    (tmp_path / "toy").symlink_to(entry)
    assert "not a folder of its own" in faults(tmp_path / "toy")


def test_a_link_put_there_after_the_listing_is_not_followed(entry: Path) -> None:
    list_files(entry)
    link_file(entry)
    with pytest.raises(Fault, match="cannot be read"):
        read_bytes(entry, "rows.jsonl", 1 << 20)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "samples/../../x", "x\x1b[2J"])
def test_sums_name_no_path_outside(entry: Path, name: str) -> None:
    sums = entry / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  {name}\n" + sums.read_text())
    found = faults(entry)
    assert "names no file of an entry" in found
    assert "\x1b" not in found


def test_sums_name_a_file_once(entry: Path) -> None:
    sums = entry / "SHA256SUMS"
    sums.write_text(sums.read_text() + sums.read_text().splitlines()[0] + "\n")
    assert "stands there twice" in faults(entry)


def test_a_file_that_the_sums_leave_out(entry: Path) -> None:
    sums = entry / "SHA256SUMS"
    sums.write_text("".join(line + "\n" for line in sums.read_text().splitlines()[1:]))
    assert faults(entry) == "entry.json: not in SHA256SUMS"


def test_a_changed_byte(entry: Path) -> None:
    content = bytearray((entry / "rows.jsonl").read_bytes())
    content[100] ^= 1
    (entry / "rows.jsonl").write_bytes(content)
    assert faults(entry) == "rows.jsonl: its sha256 is not the one in SHA256SUMS"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(file_bytes=2000), "bytes, at most 2000"),
        (Limits(total_bytes=3000), "more than 3000 bytes in all"),
        (Limits(files=3), "more than 3 files"),
    ],
)
def test_size_caps(entry: Path, limits: Limits, message: str) -> None:
    assert message in faults(entry, limits)


def test_a_sparse_file_of_a_terabyte_is_not_read(entry: Path) -> None:
    with (entry / "rows.jsonl").open("wb") as file:
        file.truncate(1 << 40)
    assert "at most" in faults(entry)
