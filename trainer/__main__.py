"""Train a policy: `python -m trainer run RECIPE --out DIR [--set key=value]`, or rebuild the embedded one."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tasks.errors import CommandLine, UserError, run_cli, stop_on_sigterm
from tasks.provenance import quiet_and_offline
from tasks.settings import load_settings, named_file

RECIPES = Path(__file__).parent / "recipes"


def main() -> None:
    """Run the command line."""
    parser = CommandLine(prog="python -m trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run", help="train one arm with one seed; the same command finishes a stopped run"
    )
    run.add_argument("recipe", help="a name in trainer/recipes/ or the path of a .toml file")
    run.add_argument("--out", type=Path, required=True, help="run folder")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a recipe key")
    pretrain = commands.add_parser("pretrain", help="make the embedded base policy from nothing")
    pretrain.add_argument("--out", type=Path, required=True, help="folder of the new policy; must not exist")
    pretrain.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    stop_on_sigterm()
    (_run if arguments.command == "run" else _pretrain)(arguments)


def _run(arguments: argparse.Namespace) -> None:
    from trainer.config import TrainConfig

    recipe = named_file(arguments.recipe, RECIPES, "recipe")
    config = load_settings(TrainConfig, recipe, arguments.set)
    _prepare(config.threads)
    from trainer.policies import policy_folder

    policy_folder(config.policy)  # before the folder is claimed, and before torch is loaded
    from trainer.loop import train

    train(config, arguments.out, report=lambda line: print(line, flush=True))


def _pretrain(arguments: argparse.Namespace) -> None:
    if arguments.out.exists():
        raise UserError(f"{arguments.out}: exists already; name a new folder")
    _prepare(threads=1)
    from tasks.checkpoints import inspect_checkpoint
    from trainer.pretrain import PretrainConfig, pretrain

    config = load_settings(PretrainConfig, RECIPES / "pretrain.toml", arguments.set)
    loss = pretrain(config, arguments.out)
    print(f"{arguments.out}: loss {loss:.4f}, weights {inspect_checkpoint(arguments.out).weights_hash}")


def _prepare(threads: int) -> None:
    """Set what has to be set before torch and transformers are imported."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    quiet_and_offline()
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


if __name__ == "__main__":
    sys.exit(run_cli(main))
