"""What several commands share: the suite, its folder, the engine, and flags that mean the same everywhere."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from benchmark.suite import Suite, load_suite
from tasks.engines import EngineName
from tasks.errors import CommandLine, UserError

if TYPE_CHECKING:
    from benchmark.jobs.runs import TrainedRun

Commands: TypeAlias = "argparse._SubParsersAction[Any]"


def suite_flags(*, engine: bool = True) -> CommandLine:
    """Return the flags of every command that works on a suite's folder; `engine`: whether it asks for one."""
    suite = CommandLine(add_help=False)
    suite.add_argument("suite", help="a name in benchmark/suites/ or the path of a .toml file")
    suite.add_argument("--out", type=Path, help="folder of all results (default: results/local/SUITE)")
    suite.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a suite key")
    if engine:
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
    return suite, folder_of(arguments, suite)


def folder_of(arguments: argparse.Namespace, suite: Suite) -> Path:
    """Return the folder of all results."""
    return Path(arguments.out or Path("results/local") / suite.name)


def worker_flags() -> CommandLine:
    """Return the flags of every command that starts engines."""
    workers = CommandLine(add_help=False)
    workers.add_argument("--jobs", type=at_least_1, help="processes side by side (default: one per core)")
    workers.add_argument(
        "--follow", action="store_true", help="take checkpoints as they appear, while training goes on"
    )
    workers.add_argument(
        "--retry-quarantined",
        action="store_true",
        help="try checkpoints again at which workers died twice",
    )
    return workers


def chosen_engine(arguments: argparse.Namespace, suite: Suite) -> str:
    """Return "transformers" or "vllm", whose texts a command reads: it need not be usable here.

    Where nothing is named it is the one that made the folder's texts.
    """
    from benchmark.jobs.claim import recorded_engine

    name = arguments.engine or suite.engine
    recorded = recorded_engine(folder_of(arguments, suite))
    if name == "auto" and recorded:
        print(f"engine: {recorded} (it made the texts of this folder)", flush=True)
        return recorded
    return name if name != "auto" else decoding_engine(arguments, suite)


def stored_texts(arguments: argparse.Namespace) -> tuple[Suite, Path, list[TrainedRun], str]:
    """Return the suite, its folder, its runs and whose texts are read: what works without a model needs."""
    from benchmark.jobs.runs import read_runs
    from benchmark.texts.generate import check_sets

    suite, out = chosen_suite(arguments)
    check_sets(suite, allow_missing=arguments.allow_missing)
    runs = read_runs(suite, out)  # before vLLM is looked for: that takes seconds
    return suite, out, runs, chosen_engine(arguments, suite)


def decoding_engine(arguments: argparse.Namespace, suite: Suite) -> str:
    """Return "transformers" or "vllm", as it can be used here, and say why.

    Texts of two engines are not compared: a folder's next texts are of the engine that made its first ones,
    and where another one is named it makes its own.

    Raises:
        UserError: the one that is named, or that made the folder's texts, cannot be used.
    """
    from benchmark.jobs.claim import recorded_engine
    from benchmark.jobs.run import usable_engine

    name, out = arguments.engine or suite.engine, folder_of(arguments, suite)
    recorded = recorded_engine(out)
    asked = recorded if name == "auto" and recorded else name
    try:
        engine, why = usable_engine(asked)
    except UserError as error:
        if asked != recorded:
            raise
        raise UserError(
            f"{out}: its texts are of {recorded}, and another engine makes its own: {error}"
        ) from None
    if recorded:
        why = "it made the texts of this folder"
        if engine != recorded:
            why = f"as asked; the texts of {out} are of {recorded}, and this one makes its own"
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
    return _whole_number(text, 1)


def at_least_0(text: str) -> int:
    """Parse the seed of a generator."""
    return _whole_number(text, 0)


def _whole_number(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r}: want a whole number, {least} or more")
    return int(text)
