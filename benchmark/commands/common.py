"""What several commands share: the suite, its folder, the engine, and flags that mean the same everywhere."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any, TypeAlias, get_args

from benchmark.suite import Suite, load_suite
from tasks.engines import EngineName
from tasks.errors import CommandLine

Commands: TypeAlias = "argparse._SubParsersAction[Any]"


def suite_flags() -> CommandLine:
    """Return the flags of every command that works on a suite's folder."""
    suite = CommandLine(add_help=False)
    suite.add_argument("suite", help="a name in benchmark/suites/ or the path of a .toml file")
    suite.add_argument("--out", type=Path, help="folder of all results (default: results/local/SUITE)")
    suite.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a suite key")
    suite.add_argument("--engine", choices=get_args(EngineName), help="what decodes; overrides the suite")
    return suite


def set_flags() -> CommandLine:
    """Return the flag of every command that needs the problem sets."""
    sets = CommandLine(add_help=False)
    sets.add_argument(
        "--allow-missing",
        action="store_true",
        help="go on without the sets that are not on this machine; their rows say so",
    )
    return sets


def chosen_suite(arguments: argparse.Namespace) -> tuple[Suite, Path]:
    """Return the resolved suite and its folder."""
    suite = load_suite(arguments.suite, arguments.set)
    return suite, arguments.out or Path("results/local") / suite.name


def chosen_engine(arguments: argparse.Namespace, suite: Suite) -> str:
    """Return "transformers" or "vllm", and say why."""
    from benchmark.run import usable_engine

    engine, why = usable_engine(arguments.engine or suite.engine)
    print(f"engine: {engine} ({why})", flush=True)
    return engine


def overrides(arguments: argparse.Namespace) -> list[str]:
    """Return the words of all --set flags."""
    return [word for text in arguments.set for word in ("--set", text)]


def run_command(arguments: argparse.Namespace) -> str:
    """Return the command that makes these results, whichever command wrote the report."""
    words = ["python", "-m", "benchmark", "run", arguments.suite]
    if arguments.out:
        words += ["--out", str(arguments.out)]
    if arguments.engine:
        words += ["--engine", arguments.engine]
    return shlex.join([*words, *overrides(arguments)])


def at_least_1(text: str) -> int:
    """Parse a count."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too few, want 1 or more")
    return number
