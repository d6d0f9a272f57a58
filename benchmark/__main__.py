"""Train, score and report: `python -m benchmark run SUITE`. Repeating a command does what is missing."""

from __future__ import annotations

import sys

from benchmark.commands import aa, aggregate, agree, gate, generate, report, run, score, store
from tasks.errors import CommandLine, run_cli, stop_on_sigterm
from tasks.provenance import quiet_and_offline

COMMANDS = (run, generate, score, aggregate, report, aa, gate, agree, store)


def main() -> None:
    """Run the command line."""
    parser = CommandLine(prog="python -m benchmark", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in COMMANDS:
        command.add(commands)
    arguments = parser.parse_args()
    stop_on_sigterm()
    quiet_and_offline()
    arguments.act(arguments)


if __name__ == "__main__":
    sys.exit(run_cli(main))
