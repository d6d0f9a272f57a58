"""`python -m benchmark run SUITE`: train, generate, score and report."""

from __future__ import annotations

import argparse

from benchmark.commands.common import (
    Commands,
    at_least_1,
    chosen_engine,
    chosen_suite,
    overrides,
    set_flags,
    suite_flags,
)
from benchmark.commands.report import write
from tasks.settings import claim_folder


def add(commands: Commands) -> None:
    """Declare the command."""
    run = commands.add_parser(
        "run", parents=[suite_flags(), set_flags()], help="train, generate, score and report"
    )
    run.add_argument("--jobs", type=at_least_1, help="processes side by side (default: one per core)")
    run.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    run.set_defaults(act=_run)


def _run(arguments: argparse.Namespace) -> None:
    suite, out = chosen_suite(arguments)
    from benchmark.generate import check_sets
    from benchmark.run import default_jobs, plan, run_suite

    jobs = arguments.jobs or default_jobs()
    print(plan(suite, out, jobs), flush=True)
    if arguments.dry_run:
        return
    check_sets(suite, allow_missing=arguments.allow_missing)
    claim_folder(out, "suite.json", suite)
    engine = chosen_engine(arguments, suite)
    timing = run_suite(suite, [arguments.suite, *overrides(arguments)], out, engine, jobs)
    write(arguments, engine, timing)
