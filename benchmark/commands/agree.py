"""`python -m benchmark agree CHECKPOINT`: two engines on the same items."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.commands.common import Commands
from tasks.errors import InfrastructureError


def add(commands: Commands) -> None:
    """Declare the command."""
    agree = commands.add_parser(
        "agree", help="answer the same items with two engines and list the differences"
    )
    agree.add_argument("checkpoint", type=Path, help="an HF folder")
    agree.add_argument(
        "--tasks", nargs="+", default=["add2", "add3"], help="tasks or groups (default: add2 add3)"
    )
    agree.add_argument(
        "--engines",
        nargs=2,
        default=["transformers", "vllm"],
        metavar=("LEFT", "RIGHT"),
        help="the two (default: transformers vllm)",
    )
    agree.add_argument(
        "--at-least", type=float, default=0.99, help="share of equal verdicts to pass (default 0.99)"
    )
    agree.set_defaults(act=_agree)


def _agree(arguments: argparse.Namespace) -> None:
    from benchmark.texts.agreement import compare_engines

    left, right = arguments.engines
    text, share = compare_engines(arguments.checkpoint, arguments.tasks, left, right)
    print(text)
    if share < arguments.at_least:
        raise InfrastructureError(
            f"{left} and {right} agree on {share:.1%} of the items, want {arguments.at_least:.0%}; "
            "do not compare scores across them"
        )
