"""`board check`: texts give the numbers again, each once, as they were asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entries import add_task, ask_otherwise, declare_endpoints, edit_rows, edit_texts, faults, reseal

from benchmark.board.check import check_entry
from benchmark.board.opened import open_entry
from benchmark.board.reading import LIMITS
from benchmark.board.texts import unpack_texts


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
