"""Look at the tasks, bring published sets to this machine, and check both.

`python -m tasks list | show TASK | fetch NAME... | verify [NAME...] | overlap TRAIN TEST... | audit [NAME...]
| freeze NAME... | harness`
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tabulate import tabulate

from tasks.audit import audit, describe, passed
from tasks.catalog import (
    expand_tasks,
    find_task,
    groups,
    load_problems,
    scored_split,
    task_names,
    task_version,
)
from tasks.errors import CommandLine, MissingSet, UserError, run_cli
from tasks.fetching import fetch, local_copy
from tasks.freeze import freeze
from tasks.overlap import WORDS, overlaps
from tasks.schema import SPLITS
from tasks.states import show, sizes, state_of, verify

NAMED = "a task or a group of tasks"
SHOWN = 8
"""Groups of more tasks are listed by their number."""
ABOVE = 1
"""Exit code of `overlap` where it finds more than the threshold."""
NOT_CORRECT = 1
"""Exit code of `audit` where the grader does not confirm a reference answer."""


def main() -> None:
    """Run the command line."""
    parser = CommandLine(prog="python -m tasks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="every task with its state on this machine")
    listing.add_argument("names", nargs="*", metavar="NAME", help=f"{NAMED}; all where none is named")
    listing.set_defaults(run=_list)
    look = commands.add_parser("show", help="print items of a task as they are asked")
    look.add_argument("task", help="its name, as `list` shows it")
    look.add_argument("--item", type=int, help="one item, from 0 (default: the first five)")
    look.add_argument("--split", choices=SPLITS, help="default: the one that is scored")
    look.set_defaults(run=_show)
    bring = commands.add_parser("fetch", help="bring published sets to the data folder")
    bring.add_argument("names", nargs="+", metavar="NAME", help="a published set, or a group of them")
    bring.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FOLDER_OR_FILE",
        help="a local copy, or a folder of OWNER/NAME copies",
    )
    bring.add_argument(
        "--allow-bad-gold",
        action="store_true",
        help="record unreadable reference answers, refuse none",
    )
    bring.set_defaults(run=_fetch)
    check = commands.add_parser(
        "verify",
        help="make procedural tasks again and compare (all: minutes); check fetched sets",
    )
    check.add_argument("names", nargs="*", metavar="NAME", help=f"{NAMED}; all of them where none is named")
    check.set_defaults(run=_verify)
    common = commands.add_parser(
        "overlap", help=f"n-grams that test and training questions share; exit {ABOVE} above the threshold"
    )
    common.add_argument("train", metavar="TRAIN", help="a task with a train split")
    common.add_argument("tests", nargs="+", metavar="TEST", help=NAMED)
    common.add_argument("--n", type=int, default=WORDS, help=f"words in an n-gram (default {WORDS})")
    common.add_argument(
        "--threshold",
        type=float,
        default=0.0,
        help="share of a test set that may overlap (default 0)",
    )
    common.set_defaults(run=_overlap)
    remake = commands.add_parser(
        "freeze", help="write the items of tasks from their definitions in tasks.toml"
    )
    remake.add_argument("names", nargs="+", metavar="NAME", help="a procedural task, or a family of them")
    remake.set_defaults(run=_freeze)
    gold = commands.add_parser(
        "audit",
        help=f"grade every reference answer against itself; exit {NOT_CORRECT} where one is not confirmed",
    )
    gold.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{NAMED}; all on this machine where none is named"
    )
    gold.set_defaults(run=_audit)
    write = commands.add_parser("harness", help="write the YAML files for lm-eval from the catalog")
    write.set_defaults(run=_harness)
    arguments = parser.parse_args()
    arguments.run(arguments)


def _list(arguments: argparse.Namespace) -> None:
    names = expand_tasks(arguments.names) or task_names()
    table = [
        [
            name,
            task_version(name),
            sizes(name),
            find_task(name).answer,
            find_task(name).samples,
            state_of(name),
        ]
        for name in names
    ]
    headers = ["task", "version", "items", "answer", "k", "on this machine"]
    print(tabulate(table, headers=headers, disable_numparse=True))
    if not arguments.names:
        print()
        lines = [[name, " ".join(of) if len(of) <= SHOWN else f"{len(of)}"] for name, of in groups().items()]
        print(tabulate(lines, headers=["group", "tasks"], disable_numparse=True))


def _show(arguments: argparse.Namespace) -> None:
    name, split = arguments.task, arguments.split
    if arguments.item is not None:
        print(show(name, arguments.item, split))
        return
    count = len(load_problems(name, split or scored_split(name)))
    print("\n\n".join(show(name, at, split) for at in range(min(5, count))))


def _fetch(arguments: argparse.Namespace) -> None:
    names = expand_tasks(arguments.names)
    failed = []
    for name in names:  # every set for itself: one that cannot be had keeps none of the others away
        try:
            source = local_copy(name, arguments.source, alone=len(names) == 1)
            path = fetch(name, source, allow_bad_gold=arguments.allow_bad_gold)
            print(f"{name}: {state_of(name)} ({path})")
        except UserError as error:
            failed.append(str(error))
    if failed:
        raise UserError("; ".join(failed))


def _verify(arguments: argparse.Namespace) -> None:
    failed = []
    for name in expand_tasks(arguments.names) or task_names():
        try:
            print(f"{name}: {verify(name)}", flush=True)
        except UserError as error:
            if isinstance(error, MissingSet) and not arguments.names:
                print(f"{name}: not on this machine")
            else:
                failed.append(str(error))
    if failed:
        raise UserError("; ".join(failed))


def _overlap(arguments: argparse.Namespace) -> None:
    if arguments.n < 1:
        raise UserError(f"--n {arguments.n}: an n-gram has at least one word; give 1 or more")
    if not 0 <= arguments.threshold <= 1:
        raise UserError(f"--threshold {arguments.threshold}: a share of items; give 0 to 1")
    train, above = load_problems(arguments.train, "train"), False
    for name in expand_tasks(arguments.tests):
        test = load_problems(name, scored_split(name))
        pairs = overlaps(train, test, arguments.n)
        share = len(pairs) / len(test)
        above |= share > arguments.threshold
        if pairs:
            print(tabulate(pairs, headers=["test", "train", "share of n-grams"], floatfmt=".2f"))
        print(
            f"{name}: {len(pairs)} of {len(test)} items share {arguments.n} words in a row "
            f"with {arguments.train} ({share:.1%}, at most {arguments.threshold:.1%} allowed)"
        )
    if above:
        sys.exit(ABOVE)


def _audit(arguments: argparse.Namespace) -> None:
    audits, missing = audit(expand_tasks(arguments.names))
    print(describe(audits, missing))
    if not passed(audits):
        sys.exit(NOT_CORRECT)


def _freeze(arguments: argparse.Namespace) -> None:
    for name in expand_tasks(arguments.names):
        print(tabulate(freeze(name).items(), headers=["file", "sha256"]), flush=True)


def _harness(arguments: argparse.Namespace) -> None:
    del arguments
    from tasks.harness.configs import write_yaml_files  # loads yaml, which nothing else here needs

    print(write_yaml_files())


if __name__ == "__main__":
    sys.exit(run_cli(main))
