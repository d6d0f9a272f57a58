"""`python -m benchmark run SUITE`: train, generate, score and report."""

from __future__ import annotations

import argparse

from benchmark.commands.common import (
    Commands,
    chosen_suite,
    decoding_engine,
    overrides,
    set_flags,
    suite_flags,
    worker_flags,
)
from benchmark.commands.report import write


def add(commands: Commands) -> None:
    """Declare the command."""
    run = commands.add_parser(
        "run", parents=[suite_flags(), set_flags(), worker_flags()], help="train, generate, score and report"
    )
    run.add_argument("--dry-run", action="store_true", help="check everything, print the plan and stop")
    run.set_defaults(act=_run)


def _run(arguments: argparse.Namespace) -> None:
    """Refuse what can be refused, the quickest checks first; the folder is claimed when nothing is left."""
    suite, out = chosen_suite(arguments)
    from benchmark.jobs.claim import check_claim
    from benchmark.jobs.plan import amounts, ask_trainers, check_asking, count_done, describe, table
    from benchmark.jobs.run import default_jobs, run_suite
    from benchmark.store import open_store
    from benchmark.texts.generate import check_sets

    check_sets(suite, allow_missing=arguments.allow_missing)
    check_claim(out, suite)
    jobs = arguments.jobs or default_jobs()
    print(describe(suite, out, jobs), flush=True)
    words = [arguments.suite, *overrides(arguments)]
    count_done(suite, out)  # a damaged manifest costs no waiting
    outlook = ask_trainers(suite)
    check_asking(words, outlook)
    engine = decoding_engine(arguments, suite)
    print(table(amounts(suite, out, open_store(out), engine, outlook, jobs)), flush=True)
    if arguments.dry_run:
        return
    timing = run_suite(
        suite, words, out, engine, jobs, follow=arguments.follow, retry=arguments.retry_quarantined
    )
    write(arguments, engine, timing)
