"""Leaderboard entries for tests: packed from a small suite written by hand, then broken on purpose."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toy import Place, all_rows, make_suite, write_run, write_texts

from benchmark.board.pack import Words, pack
from benchmark.suite import Suite

LEVELS = {"sums1": [0.1, 0.15]}
"""Base is 4 or 5 of 80 items; the first look stays below."""


def toy_suite(seeds: int = 2, **changes: Any) -> Suite:
    return make_suite(seeds=list(range(seeds)), endpoints={"levels": LEVELS}, **changes)


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
        "labels": {},
        "hardware": "two cores",
        "tuning_budget": "none",
        "cost": "",
        "kind": "result",
        "supersedes": [],
        "refutes": [],
    }
    return Words(id=entry_id, **(known | changes))


def make_entry(tmp: Path, entry_id: str = "toy", seeds: int = 2, lead: int = 6, **changes: Any) -> Path:
    suite = toy_suite(seeds)
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


def row_of(rows: list[dict[str, Any]], arm: str, seed: int | None, step: int, split: str) -> dict[str, Any]:
    return next(
        row
        for row in rows
        if (row["arm"], row["seed"], row["step"], row["split"]) == (arm, seed, step, split)
    )
