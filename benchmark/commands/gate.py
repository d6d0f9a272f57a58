"""`python -m benchmark gate CANDIDATE --baseline FILE`: does the trainer learn as the baseline's did?"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.common import Commands, at_least_1, overrides
from benchmark.suite import SUITES, Suite, load_suite
from tasks.errors import InfrastructureError, Interrupted, UserError
from tasks.settings import build_settings

if TYPE_CHECKING:
    from benchmark.gate.judge import Judgement


def add(commands: Commands) -> None:
    """Declare the command."""
    gate = commands.add_parser(
        "gate",
        help="hold a suite, trained with the present checkout, against a baseline",
        description="Exit codes: 0 pass, 1 regression, 2 usage, 3 inconclusive, 5 measured nothing or too "
        "little, 6 integrity, 7 infrastructure. docs/gate.md explains the decision.",
    )
    gate.add_argument("candidate", help="a suite (name or .toml file), or a results folder that exists")
    mode = gate.add_mutually_exclusive_group()
    mode.add_argument("--baseline", type=Path, help="default: results/baselines/SUITE.json")
    mode.add_argument(
        "--write-baseline", type=Path, metavar="FILE", help="write or rotate a baseline instead"
    )
    gate.add_argument("--reason", default="", help="why the baseline is written; goes into the file")
    gate.add_argument(
        "--out", type=Path, help="folder of runs and verdict (default: one per state of the code)"
    )
    gate.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a suite key")
    gate.add_argument(
        "--allow-changed",
        action="append",
        default=[],
        metavar="KEY",
        help="judge a change of this setting of the trainer; any other that differs is refused",
    )
    gate.add_argument("--engine", choices=("transformers", "vllm"), help="what decodes; overrides the suite")
    gate.add_argument("--jobs", type=at_least_1, help="processes side by side (default: one per core)")
    gate.set_defaults(act=_gate)


@contextmanager
def _own_faults_are_infrastructure() -> Iterator[None]:
    """Let no fault of the gate's own end in exit code 1, which says that the trainer got worse."""
    from benchmark.gate.stops import GateStop

    try:
        yield
    except (UserError, InfrastructureError, GateStop, BrokenPipeError, Interrupted):
        raise
    except Exception as error:
        traceback.print_exc()
        raise InfrastructureError(f"the gate itself failed: {type(error).__name__}: {error}") from error


@_own_faults_are_infrastructure()
def _gate(arguments: argparse.Namespace) -> None:
    from benchmark.gate.judge import Judgement
    from benchmark.gate.outputs import markdown, write_outputs
    from benchmark.gate.results import the_arm
    from benchmark.gate.stops import CODES, GateStop

    if arguments.reason and not arguments.write_baseline:
        raise UserError("--reason: only a baseline that is written has one; add --write-baseline FILE")
    suite, folder = _candidate(arguments)
    the_arm(suite)  # refuses a suite that the gate has no plan for
    out = folder or arguments.out or _default_out(suite)
    verdict = (arguments.out or folder / "gate") if folder else out
    try:
        if arguments.write_baseline:
            _write(arguments, suite, folder, out)
            return
        with _own_faults_are_infrastructure():
            judgement = _judge(arguments, suite, folder, out)
    except (GateStop, InfrastructureError) as stop:
        outcome = stop.outcome if isinstance(stop, GateStop) else "infrastructure"
        judgement = Judgement(outcome=outcome, headline=str(stop))
    paths = write_outputs(verdict, suite.name, judgement)
    text = markdown(suite.name, judgement)
    _to_summary(text)
    print(text)
    print(f"verdict: {', '.join(str(path) for path in paths)}")
    sys.exit(CODES[judgement.outcome])


def _to_summary(text: str) -> None:
    """Append to $GITHUB_STEP_SUMMARY where it is set; the verdict stands, whoever can show it."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:
            print(f"warning: $GITHUB_STEP_SUMMARY {path}: not written ({error.strerror})", file=sys.stderr)


def _candidate(arguments: argparse.Namespace) -> tuple[Suite, Path | None]:
    """Return the suite, and its folder where the candidate is one."""
    folder = Path(arguments.candidate)
    shipped = {path.stem for path in SUITES.glob("*.toml")}  # a name, even where a folder is called so too
    if not folder.is_dir() or arguments.candidate in shipped:
        return load_suite(arguments.candidate, arguments.set), None
    if arguments.set or arguments.engine or arguments.jobs:
        raise UserError(
            f"{folder}: is a results folder, nothing is run; leave --set, --engine and --jobs out"
        )
    path = folder / "suite.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, TypeError, KeyError):
        raise UserError(f"{path}: missing or damaged; name a suite or a folder of results") from None
    return build_settings(Suite, config, source=str(path)), folder


def _default_out(suite: Suite) -> Path:
    from benchmark.gate.flow import code_digest

    return Path("results/local/gate") / f"{suite.name}_{suite.digest()[:6]}_{code_digest()[:12]}"


def _judge(arguments: argparse.Namespace, suite: Suite, folder: Path | None, out: Path) -> Judgement:
    from benchmark.gate.baseline import read_baseline
    from benchmark.gate.flow import claim, gate_folder, gate_suite, run_part
    from benchmark.jobs.run import default_jobs, usable_engine

    baseline = read_baseline(arguments.baseline or Path("results/baselines") / f"{suite.name}.json")
    if folder:
        return gate_folder(suite, folder, baseline, arguments.allow_changed)
    results = claim(out)
    engine, _ = usable_engine(arguments.engine or suite.engine)
    jobs = arguments.jobs or default_jobs()
    words = [arguments.candidate, *overrides(arguments)]
    return gate_suite(
        suite,
        results,
        baseline,
        lambda seeds: run_part(suite, words, results, seeds, engine, jobs),
        report=lambda line: print(line, flush=True),
        allowed=arguments.allow_changed,
    )


def _write(arguments: argparse.Namespace, suite: Suite, folder: Path | None, out: Path) -> None:
    from benchmark.gate.baseline import write_baseline
    from benchmark.gate.decide import LOOKS
    from benchmark.gate.flow import claim, health, run_part
    from benchmark.gate.integrity import check_integrity
    from benchmark.gate.results import read_results
    from benchmark.gate.stops import IntegrityError
    from benchmark.jobs.run import default_jobs, usable_engine

    if arguments.allow_changed:
        raise UserError("--allow-changed: a baseline is compared with nothing; leave it out")
    if folder is None:
        out = claim(out)
        engine, _ = usable_engine(arguments.engine or suite.engine)
        words = [arguments.candidate, *overrides(arguments)]
        run_part(suite, words, out, suite.seeds, engine, arguments.jobs or default_jobs())
    results = read_results(out, suite)
    check_integrity(results, results)  # no seed twice
    if broken := health(suite, out, results, ()):
        raise IntegrityError(f"no baseline from a broken trainer: {broken}")
    baseline = write_baseline(arguments.write_baseline, results, arguments.reason)
    print(
        f"{arguments.write_baseline}: {len(results.runs)} runs of {results.arm}, {len(baseline.history)} "
        f"baselines before it; the last look reads {LOOKS[-1]} pairs"
    )
