"""`python -m benchmark aa SUITE`: one arm against itself on disjoint seeds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmark.commands.common import (
    Commands,
    at_least_1,
    chosen_suite,
    overrides,
    set_flags,
    suite_flags,
)
from tasks.errors import UserError


def add(commands: Commands) -> None:
    """Declare the command."""
    aa = commands.add_parser(
        "aa",
        parents=[suite_flags(), set_flags()],
        help="train one arm on disjoint seeds: how large is noise, do the tests keep their word",
    )
    aa.add_argument("--seeds", type=at_least_1, default=40, help="runs, seeds 0 to N - 1 (default 40)")
    aa.add_argument("--jobs", type=at_least_1, help="processes side by side (default: one per core)")
    aa.set_defaults(act=_aa)


def _aa(arguments: argparse.Namespace) -> None:
    from benchmark.aa.report import FEWEST, TRIALS, study, write_study
    from benchmark.gate.results import read_results, the_arm
    from benchmark.jobs.run import default_jobs, run_suite, usable_engine
    from benchmark.rows import read_rows, to_frame
    from benchmark.texts.generate import check_sets

    suite, out = chosen_suite(arguments)
    out = arguments.out or Path("results/local") / f"aa_{suite.name}"
    seeds = list(range(arguments.seeds))
    words = ["--set", f"seeds={json.dumps(seeds)}", "--set", f'arms=["{suite.baseline}"]']
    whole = suite.model_copy(update={"seeds": seeds, "arms": [suite.baseline]})
    the_arm(whole)  # before hours of training: what the study could not read
    if arguments.seeds < FEWEST:
        raise UserError(
            f"--seeds {arguments.seeds}: an A/A study compares disjoint sets, train at least {FEWEST}"
        )
    check_sets(whole, allow_missing=arguments.allow_missing)
    engine, _ = usable_engine(arguments.engine or suite.engine)
    words = [arguments.suite, *overrides(arguments), *words]
    run_suite(whole, words, out, engine, arguments.jobs or default_jobs())
    rows = to_frame(read_rows(out / "rows.jsonl"))
    found = study(read_results(out, whole), rows, len(suite.seeds), TRIALS)
    print(write_study(out, suite.name, found))
    print(f"study: {out / 'aa.md'}, {out / 'aa.json'}")
