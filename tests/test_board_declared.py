"""`board check`: what entry.json declares has to hold together with the rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from entries import edit_entry, faults, suite_change


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
