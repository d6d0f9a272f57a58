"""`board check`: every number of a row is computed again, and every key of it is looked at."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from entries import better_value, edit_rows, faults, row_of

from benchmark.board.opened import open_entry


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
