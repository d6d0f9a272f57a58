"""Leaderboard entries for tests: packed from a small suite written by hand, then broken on purpose."""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy import Place, all_rows, make_suite, write_run, write_texts

from benchmark.board.check import check_entry
from benchmark.board.declared import digest_of
from benchmark.board.pack import Words, pack
from benchmark.board.reading import LIMITS, Limits
from benchmark.commands import board
from benchmark.endpoints import Endpoints
from benchmark.store import sample_key
from benchmark.suite import Suite
from tasks.catalog import task_version
from tasks.errors import CommandLine

LEVELS = {"sums1": [0.1, 0.15]}
"""Base is 4 or 5 of 80 items; the first look stays below."""


def toy_suite(seeds: int = 2, first: int = 0, **changes: Any) -> Suite:
    return make_suite(seeds=list(range(first, first + seeds)), endpoints={"levels": LEVELS}, **changes)


def write_results(out: Path, suite: Suite, lead: int = 6) -> Path:
    """Runs, texts and rows; `lambda_grpo` gets `lead` items more right than `grpo` at the end."""
    right: dict[Place, int] = {("base", None, 0): 4}
    for number, arm in enumerate(suite.arms):
        for seed in suite.seeds:
            write_run(out, arm, seed)
            right[arm, seed, 2] = 5 + seed % 3
            right[arm, seed, 4] = 13 + (3 * seed) % 5 + lead * number
    write_texts(suite, out, right)
    all_rows(suite, out)
    return out


def words(entry_id: str, **changes: Any) -> Words:
    known: dict[str, Any] = {
        "title": "A toy",
        "author": "",
        "labels": {},
        "hardware": "two cores",
        "tuning_budget": "none",
        "cost": "",
        "kind": "result",
        "supersedes": [],
        "refutes": [],
    }
    return Words(id=entry_id, **(known | changes))


def make_entry(
    tmp: Path, entry_id: str = "toy", seeds: int = 2, lead: int = 6, first: int = 0, **changes: Any
) -> Path:
    """`first` of the seeds; two entries with other seeds have weights of their own."""
    suite = toy_suite(seeds, first)
    out = write_results(tmp / f"out-{entry_id}", suite, lead)
    return pack(suite, out, tmp / "entries", words(entry_id, **changes))


def reseal(folder: Path) -> None:
    """Write the sums anew, as somebody would who wants a change to pass."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


def edit_entry(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "entry.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    reseal(folder)


def edit_rows(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    path = folder / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reseal(folder)


def edit_texts(
    folder: Path, change: Callable[[list[dict[str, Any]]], None], name: str = "sums1_test"
) -> None:
    path = folder / "samples" / f"{name}.jsonl.xz"
    lines = [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]
    change(lines)
    path.write_bytes(lzma.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    reseal(folder)


def suite_change(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Change keys of the suite and mend its hash."""

    def change(entry: dict[str, Any]) -> None:
        entry["suite"] |= changes
        entry["suite_hash"] = digest_of(entry["suite"])

    return change


def declare_endpoints(folder: Path, **changes: Any) -> None:
    """Change endpoints of the suite and mend every hash of them."""
    endpoints = json.loads((folder / "entry.json").read_text())["suite"]["endpoints"] | changes
    digest = Endpoints.model_validate(endpoints).digest()

    def declare(entry: dict[str, Any]) -> None:
        suite_change(endpoints=endpoints)(entry)
        entry["endpoints_hash"] = digest

    edit_entry(folder, declare)
    edit_rows(folder, lambda rows: [row.update(endpoints=digest) for row in rows] and None)


def ask_otherwise(folder: Path, **changes: Any) -> dict[str, str]:
    """Change what every unit was asked; returns its old key -> its new one."""
    renamed: dict[str, str] = {}

    def change(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            if "request" in line:
                old = sample_key(line["request"])
                line["request"] |= changes
                renamed[old] = sample_key(line["request"])

    for name in ("sums1_test", "sums1_validation"):
        edit_texts(folder, change, name)
    return renamed


def add_task(folder: Path, missing: str = "") -> None:
    """Make a suite of two tasks of it; the second has a tenth of the values, or was not measured."""
    gone: dict[str, Any] = {
        "value": None,
        "stderr": None,
        "mean_tokens": None,
        "n_loose": None,
        "wall_s": None,
    }
    gone |= dict.fromkeys(("n_items", "n_asked", "n_unparsed", "n_truncated", "n_ungraded"), 0)
    gone |= {"missing": missing, "sample_key": ""}

    def more(rows: list[dict[str, Any]]) -> None:
        for row in list(rows):
            of_task = gone if missing else {"value": row["value"] / 10}
            rows.append(row | {"task": "add2", "task_version": task_version("add2")} | of_task)

    def declare(entry: dict[str, Any]) -> None:
        suite_change(tasks=["sums1", "add2"], max_new_tokens=48)(entry)
        entry["counts"]["rows"] *= 2

    edit_rows(folder, more)
    for split in ("test", "validation") if not missing else ():
        (folder / "samples" / f"add2_{split}.jsonl.xz").write_bytes(
            (folder / "samples" / f"sums1_{split}.jsonl.xz").read_bytes()
        )
    edit_entry(folder, declare)


def row_of(rows: list[dict[str, Any]], arm: str, seed: int | None, step: int, split: str) -> dict[str, Any]:
    return next(
        row
        for row in rows
        if (row["arm"], row["seed"], row["step"], row["split"]) == (arm, seed, step, split)
    )


def better_value(rows: list[dict[str, Any]]) -> None:
    row_of(rows, "lambda_grpo", 1, 4, "test")["value"] += 0.0125


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_entry(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def entry(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "entries" / "toy"))


def faults(entry: Path, limits: Limits = LIMITS) -> str:
    return "\n".join(check_entry(entry, limits).faults)


def run_board(*arguments: str) -> None:
    parser = CommandLine(prog="benchmark")
    board.add(parser.add_subparsers(required=True))
    parsed: argparse.Namespace = parser.parse_args(["board", *arguments])
    parsed.act(parsed)
