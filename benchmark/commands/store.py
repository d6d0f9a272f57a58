"""`python -m benchmark store ACTION SUITE`: look after the generated texts."""

from __future__ import annotations

import argparse
from pathlib import Path

from tabulate import tabulate

from benchmark.commands.common import Commands
from tasks.errors import UserError

ACTIONS = {
    "list": "what is held, a line a unit",
    "verify": "check every byte",
    "repair": "set aside what is damaged or of foreign items; `generate` makes what is missing then",
    "compact": "export everything to one Parquet file",
}


def add(commands: Commands) -> None:
    """Declare the command."""
    store = commands.add_parser("store", help="list, verify, repair or compact the generated texts")
    store.add_argument(
        "action", choices=ACTIONS, help="; ".join(f"{name}: {what}" for name, what in ACTIONS.items())
    )
    store.add_argument("suite", nargs="?", help="a name in benchmark/suites/ or the path of a .toml file")
    store.add_argument("--out", type=Path, help="folder of all results (default: results/local/SUITE)")
    store.set_defaults(act=_store)


def _store(arguments: argparse.Namespace) -> None:
    out = _folder(arguments)
    {"list": _list, "verify": _verify, "repair": _repair, "compact": _compact}[arguments.action](out)


def _folder(arguments: argparse.Namespace) -> Path:
    from benchmark.suite import load_suite

    if arguments.suite is None and arguments.out is None:
        raise UserError("store: whose? name a suite, or give --out FOLDER")
    suite = None if arguments.suite is None else load_suite(arguments.suite)
    out: Path = arguments.out or Path("results/local") / suite.name  # type: ignore[union-attr]
    if not out.is_dir():
        raise UserError(f"{out}: no such folder; run the suite first, or give --out")
    if not (out / "samples").is_dir():
        raise UserError(f"{out}: has no texts (no folder samples/); run the suite first, or give --out")
    return out


def _list(out: Path) -> None:
    from benchmark.store import open_store

    store = open_store(out)
    rows = []
    for key, count in store.counts().items():
        request = store.request(key)
        rows.append(
            [key, request["task"], request["split"], request["weights"][:12], request["engine"], count]
        )
    print(tabulate(rows, headers=["unit", "task", "split", "weights", "engine", "samples"]))


def _verify(out: Path) -> None:
    from benchmark.store import open_store

    found = open_store(out).verify()
    if found.problems:
        print("\n".join(found.problems))
        raise UserError(
            f"{out / 'samples'}: {len(found.problems)} damaged; "
            f"`python -m benchmark store repair --out {out}` sets them aside, "
            "and `generate` makes what is missing then"
        )
    print(
        f"sound: {found.samples} samples of {found.units} units in {found.shards} finished and {found.parts} "
        f"unfinished shards; {found.conflicts} samples with two different texts"
    )


def _repair(out: Path) -> None:
    from benchmark.store.upkeep import repair

    print("\n".join(repair(out)) or "nothing to repair")


def _compact(out: Path) -> None:
    from benchmark.store import open_store

    print(open_store(out).compact())
