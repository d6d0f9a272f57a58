"""`python -m benchmark generate SUITE`: the texts that are missing."""

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


def add(commands: Commands) -> None:
    """Declare the command."""
    generate = commands.add_parser(
        "generate",
        parents=[suite_flags(), set_flags(), worker_flags()],
        help="generate the texts that are missing; several may work on one folder",
    )
    generate.set_defaults(act=_generate)


def _generate(arguments: argparse.Namespace) -> None:
    suite, out = chosen_suite(arguments)
    from benchmark.jobs.claim import CLAIM, check_claim, record_engine
    from benchmark.jobs.run import Work, default_jobs, follow_trainers, generate, quarantined
    from benchmark.jobs.runs import distinct_checkpoints, read_runs
    from benchmark.texts.generate import check_sets
    from tasks.settings import make_folder

    check_sets(suite, allow_missing=arguments.allow_missing)
    if (out / CLAIM).exists():  # a folder of run folders alone belongs to whoever asks
        check_claim(out, suite)
    runs = [] if arguments.follow else read_runs(suite, out)  # before vLLM is looked for: that takes seconds
    work = Work(
        suite=suite,
        words=[arguments.suite, *overrides(arguments)],
        out=out,
        engine=decoding_engine(arguments, suite),
        jobs=arguments.jobs or default_jobs(),
        retry=arguments.retry_quarantined,
    )
    make_folder(out)
    record_engine(out, work.engine)
    failures = follow_trainers(work) if arguments.follow else generate(work, distinct_checkpoints(runs))
    if failures:
        raise quarantined(failures)
