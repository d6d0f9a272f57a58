"""`python -m benchmark generate SUITE`: the texts that are missing."""

from __future__ import annotations

import argparse

from benchmark.commands.common import Commands, chosen_engine, chosen_suite, set_flags, suite_flags
from tasks.errors import UserError


def add(commands: Commands) -> None:
    """Declare the command."""
    generate = commands.add_parser(
        "generate", parents=[suite_flags(), set_flags()], help="generate the texts that are missing"
    )
    generate.add_argument(
        "--worker", default="0/1", metavar="I/N", help="take the I-th of N shares of the checkpoints"
    )
    generate.set_defaults(act=_generate)


def _share(worker: str) -> tuple[int, int]:
    index, _, count = worker.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise UserError(f"--worker {worker!r}: want I/N with I below N, for example 0/2")
    return int(index), int(count)


def _generate(arguments: argparse.Namespace) -> None:
    suite, out = chosen_suite(arguments)
    index, count = _share(arguments.worker)
    from benchmark.generate import check_sets, generate, missing_work
    from benchmark.runs import distinct_checkpoints, read_runs
    from benchmark.store import open_store

    check_sets(suite, allow_missing=arguments.allow_missing)
    share = distinct_checkpoints(read_runs(suite, out))[index::count]
    told = arguments.engine in ("transformers", "vllm")  # a worker is told what its launcher has found
    engine = arguments.engine if told else chosen_engine(arguments, suite)
    store = open_store(out)
    for line in store.adopt():
        print(line, flush=True)
    work = missing_work(suite, share, store, engine)
    generate(suite, work, out, engine, lambda line: print(line, flush=True))
