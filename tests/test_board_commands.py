"""`board`, `board check` and `board pack` as commands: faults a line each, records, flags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from entries import better_value, edit_rows, make_entry, row_of, run_board

from benchmark.board.opened import open_entry
from benchmark.commands import board
from tasks.errors import UserError


def test_the_command_says_each_fault_on_a_line_and_ends_with_6(
    entry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_board("check", str(entry), "--record", "us")
    assert "re-scored: noted in" in capsys.readouterr().out
    assert (entry.parent.parent / "verification" / "toy.jsonl").exists()
    edit_rows(entry, better_value)
    with pytest.raises(SystemExit) as left:
        run_board("check", str(entry))
    assert left.value.code == 6
    assert [line[:24] for line in capsys.readouterr().err.splitlines()] == ["fault: toy: rows.jsonl: "]
    with pytest.raises(UserError, match="no such folder"):
        run_board("check", str(entry / "nowhere"))


def test_a_page_that_would_change_is_noticed(entry: Path, tmp_path: Path) -> None:
    where = ("--entries", str(entry.parent), "--page", str(tmp_path / "page"))
    with pytest.raises(SystemExit):
        run_board(*where, "--unchanged")
    assert not (tmp_path / "page").exists()
    run_board(*where)
    run_board(*where, "--unchanged")
    (tmp_path / "page" / "board.md").write_text("edited")
    with pytest.raises(SystemExit):
        run_board(*where, "--unchanged")


def test_a_claim_is_confirmed_with_a_record(entry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newer = make_entry(entry.parent.parent, "newer", lead=0, supersedes=["toy"], author="Ann")
    for bad, message in (
        (["--confirm", "toy"], "say --record"),
        (["--confirm", "other", "--record", "us"], "claims nothing about it"),
        (["--confirm", "toy", "--record", " ann"], "is the author of newer"),
    ):
        with pytest.raises(UserError, match=message):
            run_board("check", str(newer), *bad)
    run_board("check", str(newer), "--confirm", "toy", "--record", "us")
    assert "superseded: noted in" in capsys.readouterr().out
    record = json.loads((entry.parent.parent / "verification" / "toy.jsonl").read_text())
    assert record["entry"] == open_entry(entry).digest
    assert record["finding"] == {
        "level": "superseded",
        "by_entry": "newer",
        "content": open_entry(newer).digest,
    }


def test_a_reproduction_is_checked_whole(entry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = make_entry(entry.parent.parent, "again", first=20, author="Bea")
    edit_rows(again, lambda rows: row_of(rows, "grpo", 20, 4, "test").update(value=0.25))
    with pytest.raises(SystemExit) as left:
        run_board("check", str(entry), "--reproduction", str(again), "--record", "us")
    assert left.value.code == 6
    assert "fault: again: rows.jsonl" in capsys.readouterr().err
    assert not (entry.parent.parent / "verification").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--re-evaluate", "out", "--seed", "-1"], "--seed: '-1': want a whole number, 0 or more"),
        (["--re-evaluate", "out", "--seed", "a"], "--seed"),
        (["--seed", "1"], "--seed: says how to generate again; add --re-evaluate"),
        (["--units", "2"], "--units: says how"),
        (["--engine", "vllm"], "--engine: says how"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_flags_that_would_do_nothing_or_fail_late_are_refused_at_once(
    entry: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setattr(board, "_rescored", lambda path: pytest.fail("texts were scored first"))
    with pytest.raises(UserError, match=message):
        run_board("check", str(entry), *arguments)


def test_no_engine_is_asked_for_when_texts_are_packed() -> None:
    with pytest.raises(UserError, match="unrecognized arguments: --engine vllm"):
        run_board("pack", "embedded", "--id", "x", "--engine", "vllm")
