"""`board pack` and `board check`: what is sound passes, and every single thing that is not is named."""

from __future__ import annotations

import argparse
import json
import lzma
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entries import (
    add_task,
    ask_otherwise,
    declare_endpoints,
    edit_entry,
    edit_rows,
    edit_texts,
    make_entry,
    reseal,
    row_of,
    suite_change,
    toy_suite,
    words,
)

from benchmark.board.check import check_entry
from benchmark.board.entry import SCHEMA_FILE, schema_text
from benchmark.board.opened import open_entry
from benchmark.board.pack import pack
from benchmark.board.reading import LIMITS, Fault, Limits, list_files, parse_json, read_bytes, read_lines
from benchmark.board.texts import unpack_texts
from benchmark.commands import board
from tasks.errors import CommandLine, UserError


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_entry(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def entry(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "entries" / "toy"))


def faults(entry: Path, limits: Limits = LIMITS) -> str:
    return "\n".join(check_entry(entry, limits).faults)


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


# --- hostile folders ---


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


# --- hostile compression ---


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


# --- hostile JSON ---


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


# --- entries that do not hold together ---


def set_key(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(entry: dict[str, Any]) -> None:
        *parents, last = key.split(".")
        for parent in parents:
            entry = entry[parent]
        entry[last] = value

    change.__name__ = key
    return change


def drop_run(entry: dict[str, Any]) -> None:
    entry["runs"].pop()


def run_twice(entry: dict[str, Any]) -> None:
    entry["runs"][1] = entry["runs"][0]


def fewer_seeds(entry: dict[str, Any]) -> None:
    """Report only the lucky seed, in runs and suite alike, and mend the hash."""
    from benchmark.board.declared import digest_of

    entry["suite"]["seeds"] = [0]
    entry["suite_hash"] = digest_of(entry["suite"])
    entry["runs"] = [run for run in entry["runs"] if run["seed"] == 0]


def other_levels(entry: dict[str, Any]) -> None:
    from benchmark.board.declared import digest_of

    entry["suite"]["endpoints"]["levels"] = {"sums1": [0.3]}
    entry["suite_hash"] = digest_of(entry["suite"])


def smoke(entry: dict[str, Any]) -> None:
    from benchmark.board.declared import digest_of

    entry["suite"]["kind"] = "smoke"
    entry["suite_hash"] = digest_of(entry["suite"])


ENTRIES: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (set_key("id", "other"), "lies in a folder called 'toy'"),
    (set_key("colour", "red"), "colour"),
    (set_key("schema_version", 2), "schema_version"),
    (set_key("title", 5), "title"),
    (set_key("title", ""), "title"),
    (set_key("suite_hash", "0" * 64), "suite_hash is not"),
    (set_key("endpoints_hash", "0" * 64), "endpoints_hash is not"),
    (set_key("counts.rows", 99), "counts 99 rows"),
    (set_key("counts.samples", 99), "more than 99 answers"),
    (set_key("counts.samples", 9999), "counts 9999 samples"),
    (set_key("suite.seeds", [[0]]), "suite.seeds.0: Input should be a valid integer"),
    (set_key("suite.seeds", [True]), "suite.seeds.0: Input should be a valid integer"),
    (set_key("suite.arms", [{}]), "suite.arms.0: Input should be a valid string"),
    (set_key("suite.tasks", [{}]), "suite.tasks.0: Input should be a valid string"),
    (set_key("suite.tasks", "sums1"), "suite.tasks: Input should be a valid list"),
    (set_key("suite.endpoints", 5), "suite.endpoints: Input should be"),
    (set_key("suite.samples", "8"), "suite.samples: Input should be a valid integer"),
    (suite_change(tasks=["no_such_task"]), "its tasks are not those of the suite"),
    (suite_change(samples=8), "8 greedy completions of an item would all be one"),
    (suite_change(temperature=0.7), "temperature is 0.0, its suite asks for 0.7"),
    (suite_change(temperature=0.7, samples=8), "asks for"),
    (suite_change(max_new_tokens=7), "its suite asks for 7"),
    (suite_change(top_p=0.5), "top_p is 1.0, its suite asks for 0.5"),
    (set_key("counts.units", 99), "counts 99 units"),
    (set_key("provenance.train_tokens", 1), "train_tokens is 1"),
    (set_key("provenance.train_seconds", 1.0), "train_seconds is 1.0"),
    (set_key("base_model", "other"), "not of this entry"),
    (set_key("arms", [{"arm": "grpo", "label": "GRPO", "summary": ""}]), "the suite declares"),
    (drop_run, "seed 1 is only in its suite"),
    (run_twice, "is declared twice; seeds are unique"),
    (fewer_seeds, "seed 1 is not declared"),
    (other_levels, "endpoints_hash is not"),
    (smoke, "a smoke suite measures nothing"),
]


@pytest.mark.parametrize(("change", "message"), ENTRIES, ids=lambda one: getattr(one, "__name__", ""))
def test_declarations_are_checked(
    entry: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    edit_entry(entry, change)
    assert message in faults(entry)


def better_value(rows: list[dict[str, Any]]) -> None:
    row_of(rows, "lambda_grpo", 1, 4, "test")["value"] += 0.0125


def last_digit(rows: list[dict[str, Any]]) -> None:
    row = row_of(rows, "lambda_grpo", 1, 4, "test")
    row["stderr"] += sys.float_info.epsilon / 4


def hide_truncation(rows: list[dict[str, Any]]) -> None:
    row_of(rows, "grpo", 0, 2, "test")["n_truncated"] -= 1


def shorter(rows: list[dict[str, Any]]) -> None:
    row_of(rows, "grpo", 0, 2, "test")["mean_tokens"] -= 0.5


def drop_row(rows: list[dict[str, Any]]) -> None:
    rows.remove(row_of(rows, "grpo", 0, 2, "validation"))


def drop_seed(rows: list[dict[str, Any]]) -> None:
    rows[:] = [row for row in rows if row["seed"] != 1 or row["arm"] != "grpo"]


def swap_weights(rows: list[dict[str, Any]]) -> None:
    row_of(rows, "grpo", 0, 2, "test")["weights_hash"] = "f" * 64


def swap_all_weights(rows: list[dict[str, Any]]) -> None:
    for split in ("validation", "test"):
        row_of(rows, "grpo", 0, 2, split)["weights_hash"] = "f" * 64


def other_config(rows: list[dict[str, Any]]) -> None:
    row_of(rows, "grpo", 0, 2, "test")["config_hash"] = "tuned for the test"


def seed_twice(rows: list[dict[str, Any]]) -> None:
    """Seed 1 is seed 0 once more, under another name."""
    for row in rows:
        if row["arm"] == "grpo" and row["seed"] == 1:
            other = row_of(rows, "grpo", 0, row["step"], row["split"])
            row |= {key: other[key] for key in ("weights_hash", "sample_key", "value", "stderr")}


def second_row(rows: list[dict[str, Any]]) -> None:
    rows.append(rows[-1])


def warmer(rows: list[dict[str, Any]]) -> None:
    row_of(rows, "grpo", 0, 2, "test")["temperature"] = 0.7


def many_versions(rows: list[dict[str, Any]]) -> None:
    rows[0]["versions"] = dict.fromkeys(map(str, range(101)), "")


def more_samples(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["n_samples"] = 1 << 62


def set_in(key: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(rows: list[dict[str, Any]]) -> None:
        row_of(rows, "lambda_grpo", 1, 4, "test")[key] = value

    change.__name__ = f"{key}={value}"
    return change


def foreign_key(rows: list[dict[str, Any]]) -> None:
    row_of(rows, "grpo", 0, 2, "test")["sample_key"] = "0" * 24


ROW_CHANGES: list[tuple[Callable[[list[dict[str, Any]]], None], str]] = [
    (better_value, "lambda_grpo seed 1 step 4 sums1 test accuracy: value is"),
    (last_digit, "stderr is"),
    (hide_truncation, "n_truncated is"),
    (shorter, "mean_tokens is"),
    (drop_row, "no accuracy of grpo seed 0 step 2 on sums1 validation"),
    (drop_seed, "no rows of arm grpo seed 1, which is declared"),
    (swap_weights, "rows of grpo seed 0 step 2 name different weights"),
    (swap_all_weights, "the weights of arm grpo seed 0 are not those of its rows"),
    (other_config, "was trained with another config_hash than declared"),
    (seed_twice, "for seeds 0 and 1: one run twice"),
    (second_row, "a second row of"),
    (warmer, "temperature is 0.7, its suite asks for 0.0"),
    (many_versions, "more than 100 versions"),
    (more_samples, "samples per item, want 1 to"),
    (foreign_key, "its units are not those that the rows name"),
    (set_in("value", 7.3), "value is 7.3 over 80 items, want a fraction"),
    (set_in("value", -0.5), "value is -0.5 over 80 items, want a fraction"),
    (set_in("n_items", 0), "over 0 items"),
    (set_in("n_truncated", 78), "81 completions without an answer or truncated, of at most 80"),
    (set_in("n_loose", 81), "n_loose is 81 of at most 80"),
    (set_in("n_asked", 900), "n_asked is 900, want 80 to 80"),
    *(
        (set_in(key, -1), f"{key}: Input should be greater than or equal to 0")
        for key in ("stderr", "tokens", "train_s", "wall_s", "mean_tokens", "n_items", "n_conflicts")
    ),
    *(
        (set_in(key, -900), f"{key}: Input should be greater than or equal to 0")
        for key in ("n_truncated", "n_unparsed", "n_ungraded", "n_loose")
    ),
    (set_in("n_samples", 0), "n_samples: Input should be greater than or equal to 1"),
]


def test_items_that_could_not_be_graded_may_outnumber_those_that_were(entry: Path) -> None:
    """Of 80 items 70 have no reference answer: the others' counts still hold together."""
    change = {"n_items": 10, "n_ungraded": 70, "n_loose": 80, "n_truncated": 2, "n_unparsed": 3}
    edit_rows(entry, lambda rows: row_of(rows, "grpo", 0, 2, "test").update(change))
    assert open_entry(entry).rows


@pytest.mark.parametrize(("change", "message"), ROW_CHANGES, ids=lambda one: getattr(one, "__name__", ""))
def test_rows_are_checked(entry: Path, change: Callable[[list[dict[str, Any]]], None], message: str) -> None:
    edit_rows(entry, change)
    assert message in faults(entry)


def right_answer(lines: list[dict[str, Any]]) -> None:
    """Give the last unit of a line the answer of the first: a wrong one becomes right somewhere."""
    line = next(one for one in lines if "given" in one and len(set(one["given"])) > 1)
    line["given"][-1] = 1 - line["given"][-1]


def other_text(lines: list[dict[str, Any]]) -> None:
    line = next(one for one in lines if "answers" in one and one["answers"][0][0] == "no idea")
    line["answers"][0][0] = "The answer is 77"


def lose_sample(lines: list[dict[str, Any]]) -> None:
    next(one for one in lines if "given" in one)["given"][3] = -1


def lose_item(lines: list[dict[str, Any]]) -> None:
    lines.pop()


def item_twice(lines: list[dict[str, Any]]) -> None:
    lines.append(lines[-1])


def unit_twice(lines: list[dict[str, Any]]) -> None:
    lines.insert(0, lines[0])


def other_items(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if "request" in line:
            line["request"]["items"] = "0" * 64


def out_of_range(lines: list[dict[str, Any]]) -> None:
    lines[-1]["given"][0] = 99


def no_finish(lines: list[dict[str, Any]]) -> None:
    lines[-1]["answers"][0][2] = "abort"


def negative(lines: list[dict[str, Any]]) -> None:
    lines[-1]["answers"][0][1] = -5


def spare_answer(lines: list[dict[str, Any]]) -> None:
    lines[-1]["answers"].append(["The answer is 1", 1, "stop", 0, ""])


TEXTS: list[tuple[Callable[[list[dict[str, Any]]], None], str]] = [
    (right_answer, "its texts give"),
    (other_text, "n_unparsed is"),
    (lose_sample, "a unit has no sample 0 of"),
    (lose_item, "do not cover 80 items x 1 samples"),
    (item_twice, "the same sample of the same item stands there twice"),
    (unit_twice, "stands there twice"),
    (other_items, "its units are not those that the rows name"),
    (out_of_range, "which of the answers it gave"),
    (no_finish, "an unknown way for a text to end"),
    (negative, "an answer is not"),
    (spare_answer, "an answer that no unit gave"),
]


@pytest.mark.parametrize(("change", "message"), TEXTS, ids=lambda one: getattr(one, "__name__", ""))
def test_texts_are_checked(entry: Path, change: Callable[[list[dict[str, Any]]], None], message: str) -> None:
    edit_texts(entry, change)
    assert message in faults(entry)


def test_a_row_says_what_its_unit_was_asked(entry: Path) -> None:
    renamed = ask_otherwise(entry, temperature=0.1)
    edit_rows(
        entry, lambda rows: [row.update(sample_key=renamed[row["sample_key"]]) for row in rows] and None
    )
    assert "temperature is 0.0, asked was 0.1" in faults(entry)


def test_rows_and_texts_that_agree_on_another_decoding_than_their_suite(entry: Path) -> None:
    other = {"temperature": 0.1, "max_new_tokens": 4096}
    renamed = ask_otherwise(entry, **other)

    def say_so(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row |= other | {"sample_key": renamed[row["sample_key"]]}

    edit_rows(entry, say_so)
    assert "sums1: temperature is 0.1, its suite asks for 0.0" in faults(entry)


def test_a_task_that_was_not_measured_is_no_fault_but_the_entry_stays_declared(entry: Path) -> None:
    add_task(entry, missing="set add2 is not on this machine")
    verdict = check_entry(entry)
    assert verdict.faults == []
    assert [note.partition(": set")[0] for note in verdict.notes] == [
        f"rows.jsonl: add2 {split} is not measured" for split in ("test", "validation")
    ]


def test_texts_that_are_missing(entry: Path) -> None:
    (entry / "samples" / "sums1_test.jsonl.xz").unlink()
    reseal(entry)
    assert "samples/sums1_test.jsonl.xz: missing; every number needs its texts" in faults(entry)


def test_texts_that_no_row_rests_on(entry: Path) -> None:
    shutil.copy(entry / "samples" / "sums1_test.jsonl.xz", entry / "samples" / "add2_test.jsonl.xz")
    reseal(entry)
    assert "samples/add2_test.jsonl.xz: no row rests on it" in faults(entry)


def test_a_schedule_that_looks_too_late_is_a_fault(entry: Path) -> None:
    declare_endpoints(entry, levels={"sums1": [0.01]})
    assert "above level 0.01 of sums1 at the first look" in faults(entry)


def test_another_task_version_is_no_fault_but_nothing_is_computed_again(entry: Path) -> None:
    edit_rows(entry, lambda rows: [row.update(task_version="0.9") for row in rows] and None)
    verdict = check_entry(entry)
    assert verdict.faults == []
    assert verdict.rescored == 0
    assert "scored as task version 0.9" in verdict.notes[0]


def test_two_samples_of_one_item_have_seeds_of_their_own(entry: Path) -> None:
    from benchmark.board.asked import _samples
    from benchmark.board.texts import Texts

    name = "samples/sums1_test.jsonl.xz"
    texts = unpack_texts(name, (entry / name).read_bytes())
    doubled = Texts(
        units=texts.units, lines=[*texts.lines, *(replace(line, index=1) for line in texts.lines)]
    )
    items = {line.item for line in texts.lines}
    assert next(iter(_samples(name, doubled, items, 2))).endswith("drawn with one seed")


def test_a_loosened_limit_is_the_only_difference(entry: Path) -> None:
    assert faults(entry, replace(LIMITS, json_depth=2)).startswith("entry.json: nested deeper than 2")
    assert open_entry(entry).entry.id == "toy"


def run_board(*arguments: str) -> None:
    parser = CommandLine(prog="benchmark")
    board.add(parser.add_subparsers(required=True))
    parsed: argparse.Namespace = parser.parse_args(["board", *arguments])
    parsed.act(parsed)


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
