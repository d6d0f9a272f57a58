"""`board pack`: what is packed is sound, comes out the same twice and overwrites nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from entries import edit_rows, faults, toy_suite, words

from benchmark.board.check import check_entry
from benchmark.board.entry import SCHEMA_FILE, schema_text
from benchmark.board.opened import open_entry
from benchmark.board.pack import pack
from tasks.errors import UserError


def test_a_packed_entry_is_sound_and_every_number_comes_out_again(entry: Path) -> None:
    verdict = check_entry(entry)
    rows = (entry / "rows.jsonl").read_text().splitlines()
    assert (verdict.faults, verdict.notes, verdict.rescored) == ([], [], len(rows))
    assert len(rows) == (1 + 2 * 2 * 2) * 2  # base and two steps of two seeds of two arms, on two splits


def test_an_entry_from_before_a_column_is_rescored_all_the_same(entry: Path) -> None:
    def forget(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            del row["n_asked"], row["train_device"], row["n_loose"]

    edit_rows(entry, forget)
    verdict = check_entry(entry)
    assert (verdict.faults, verdict.notes) == ([], [])
    assert verdict.rescored == len(open_entry(entry).rows)
    edit_rows(entry, lambda rows: rows[0].update(n_asked=81, n_ungraded=1))
    assert "n_asked is 81, its texts give" in faults(entry)


def test_the_hardware_is_what_the_runs_were_trained_on(sound: Path, tmp_path: Path) -> None:
    again = pack(toy_suite(), sound.parent.parent / "out-toy", tmp_path, words("toy", hardware=""))
    assert open_entry(again).entry.provenance.hardware == "EPYC"  # all texts were generated on "cpu"


def test_packing_twice_gives_the_same_bytes(sound: Path, tmp_path: Path) -> None:
    again = pack(toy_suite(), sound.parent.parent / "out-toy", tmp_path, words("toy"))
    for path in sorted(sound.rglob("*")):
        assert not path.is_file() or (again / path.relative_to(sound)).read_bytes() == path.read_bytes()


def test_an_entry_is_never_overwritten(sound: Path) -> None:
    before = (sound / "SHA256SUMS").read_bytes()
    with pytest.raises(UserError, match="entries are never changed"):
        pack(toy_suite(), sound.parent.parent / "out-toy", sound.parent, words("toy"))
    assert (sound / "SHA256SUMS").read_bytes() == before


@pytest.mark.parametrize("name", ["../outside", "/tmp/x", "a b", "Toy", "", "x" * 65, "-x", "<script>"])
def test_an_id_is_the_name_of_a_folder_and_nothing_else(sound: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError):
        pack(toy_suite(), sound.parent.parent / "out-toy", tmp_path / "entries", words(name))
    assert not list(tmp_path.rglob("entry.json"))


def test_the_exported_schema_is_that_of_the_models() -> None:
    assert SCHEMA_FILE.read_text() == schema_text()
