"""`board check` on hostile bytes: compression bombs and JSON of strangers."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from entries import faults, run_board

from benchmark.board.reading import LIMITS, Fault, Limits, parse_json, read_lines
from benchmark.board.texts import unpack_texts


def packed(content: bytes, **options: Any) -> bytes:
    return lzma.compress(content, **options)


BIG = b'"' + b"a" * (1 << 24) + b'"\n'


@pytest.mark.parametrize(
    ("content", "limits", "message"),
    [
        (packed(b"{}\n" * (1 << 22)), Limits(unpacked_bytes=1 << 20), "bytes unpacked"),
        (packed(BIG), Limits(line_bytes=1 << 20), "a line of more than"),
        (packed(b"{}\n", preset=9), Limits(unpacking_memory=1 << 20), "cannot be unpacked"),
        (packed(b"{}\n") + b"more", LIMITS, "does not end with a whole line"),
        (packed(b"{}\n") + packed(b"{}\n"), LIMITS, "does not end with a whole line"),
        (packed(b"{}\n" * 100)[:-20], LIMITS, "cut off"),
        (packed(b"{}"), LIMITS, "does not end with a whole line"),
        (b"{}\n" * 10, LIMITS, "cannot be unpacked"),
        (b"", LIMITS, "cut off"),
    ],
    ids=["bomb", "line", "memory", "trailing", "second stream", "torn", "no newline", "not xz", "empty"],
)
def test_compressed_files_have_limits(content: bytes, limits: Limits, message: str) -> None:
    with pytest.raises(Fault, match=message):
        list(read_lines(content, "samples/a.jsonl.xz", limits))


def item_lines(lines: int, answers: int) -> bytes:
    many = ",".join(['["",0,"stop",0,""]'] * answers)
    items = (f'{{"item":"{at}","index":0,"answers":[{many}],"given":[0]}}\n' for at in range(lines))
    return packed(('{"request":{},"effective":[]}\n' + "".join(items)).encode())


@pytest.mark.parametrize(
    ("content", "limits", "message"),
    [
        (item_lines(20, 50), Limits(answers=999), "more than 999 answers"),
        (item_lines(20, 50), Limits(samples=999), "more than 999 answers"),
        (
            packed(b'{"request":{"x":[' + b",".join([b"[]"] * 99) + b']},"effective":[]}\n'),
            Limits(line_bytes=200),
            "a line of more than 200 bytes|more than 200 bytes of units",
        ),
    ],
    ids=["answers", "counted", "head"],
)
def test_what_texts_unpack_to_has_limits(content: bytes, limits: Limits, message: str) -> None:
    with pytest.raises(Fault, match=message):
        unpack_texts("samples/a_test.jsonl.xz", content, limits)


def test_one_line_of_brackets_is_not_parsed() -> None:
    line = b'{"request":{"x":[' + b",".join([b"[]"] * 4_000_000) + b']},"effective":[]}\n'
    with pytest.raises(Fault, match="a line of more than"):
        unpack_texts("samples/a_test.jsonl.xz", packed(line, preset=0))


def test_whatever_a_check_trips_over_is_the_fault_of_its_entry(
    entry: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trip(*arguments: object) -> None:
        raise RuntimeError("a \x1b[2J surprise")

    monkeypatch.setattr("benchmark.board.opened.declaration_faults", trip)
    for arguments in (("check", str(entry)), ("--entries", str(entry.parent), "--page", str(entry.parent))):
        with pytest.raises(SystemExit) as left:
            run_board(*arguments)
        assert left.value.code == 6
        said = capsys.readouterr().err
        assert said == "fault: toy: cannot be checked, RuntimeError: a \\x1b[2J surprise\n"


def test_what_stops_the_page_is_found_by_the_check(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trip(*arguments: object) -> None:
        raise ValueError("cannot be summed up")

    for name in ("summed.paired_differences", "arm_row.draw_chart", "build.csv_page"):
        with monkeypatch.context() as patched:
            patched.setattr(f"benchmark.board.{name}", trip)
            assert "cannot be checked, ValueError: cannot be summed up" in faults(entry)
    assert faults(entry) == ""


def test_a_bomb_is_stopped_before_it_is_unpacked() -> None:
    bomb = lzma.compress(b"\n" * (1 << 26))  # 64 MiB out of 10 kB
    limits, seen = Limits(unpacked_bytes=1 << 22), 0
    lines = read_lines(bomb, "samples/a.jsonl.xz", limits)
    with pytest.raises(Fault, match="bytes unpacked"):  # noqa: PT012  (the lines before it are counted)
        for _ in lines:
            seen += 1
    assert seen <= 1 << 22


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested deeper than 12"),
        ("[" * 13 + "]" * 13, "nested deeper than 12"),
        ('{"a": 1, "a": 2}', "a key stands twice"),
        ('{"a": NaN}', "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("[1e999]", "1e999 is no finite number"),
        ("[9223372036854775808]", "an integer beyond"),
        ("[" + "1" * 5000 + "]", "not JSON"),
        ('["a\\u0007b"]', r"U\+0007"),
        ('["a\\u202eb"]', r"U\+202E"),
        ('["\\u2066x"]', r"U\+2066"),
        ('["a\\u200bb"]', r"U\+200B"),
        ('["\\ud800"]', r"U\+D800"),
        ('{"\\u0000": 1}', r"U\+0000"),
        ('["' + "a" * 4001 + '"]', "a string of 4001 characters"),
        ("{", "not JSON"),
        ("\x80", "not JSON"),
    ],
    ids=str,
)
def test_json_of_strangers(text: str, message: str) -> None:
    with pytest.raises(Fault, match=message) as caught:
        parse_json("entry.json", text.encode("latin-1"))
    assert str(caught.value).isascii()
    assert "\n" not in str(caught.value)


def test_the_same_json_in_its_bounds_is_read() -> None:
    text = "[" * 11 + '"λ-GRPO", 9223372036854775807, 1e300' + "]" * 11
    assert parse_json("entry.json", text.encode()) is not None


def test_texts_of_models_may_hold_anything() -> None:
    text = json.dumps(["\u202e\x00\ud800" + "a" * 5000])
    assert parse_json("x", text.encode(), free_text=True)[0].startswith("\u202e")
