"""Train a policy, look at what an arm asks of it, or rebuild the shipped ones."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tasks.errors import CommandLine, UserError, closest, run_cli, stop_on_sigterm
from tasks.provenance import quiet_and_offline
from tasks.settings import claim_folder, load_settings, named_file
from trainer.config import TrainConfig

RECIPES = Path(__file__).parent / "recipes"


def main() -> None:
    """Run the command line."""
    parser = CommandLine(prog="python -m trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = _recipe_command(
        commands, "run", "train one arm with one seed; the same command finishes a stopped run"
    )
    run.add_argument("--out", type=Path, required=True, help="run folder")
    run.add_argument(
        "--track", action="append", default=[], metavar="MIRROR", help="copy metrics to tensorboard or wandb"
    )
    run.set_defaults(call=_run)
    check = _recipe_command(commands, "check", "say as JSON what `run` would train, or why it would not")
    check.set_defaults(call=_check)
    gradients = _recipe_command(
        commands, "compare-gradients", "compare two arms on the same recorded rollouts and weights"
    )
    gradients.add_argument("arms", nargs=2, metavar="ARM", help="names in trainer/arms.py")
    gradients.add_argument("--rollouts", type=Path, required=True, help="RUN/rollouts of a recording run")
    gradients.add_argument("--steps", default="1", help="recorded steps, for example 1,2 (default: 1)")
    gradients.add_argument(
        "--checkpoint", type=Path, help="weights (default: the recording run's checkpoints/step_000000)"
    )
    gradients.set_defaults(call=_compare_gradients)
    drift = _recipe_command(
        commands, "drift", "run with learning rate 0; exit 1 when the weights move all the same"
    )
    drift.add_argument("--steps", type=int, required=True, help="3 or more")
    drift.set_defaults(call=_drift)
    pretrain = commands.add_parser("pretrain", help="make the embedded base policy from nothing")
    pretrain.add_argument("--out", type=Path, required=True, help="folder of the new policy; must not exist")
    _set_flag(pretrain)
    pretrain.set_defaults(call=_pretrain)
    walker = commands.add_parser("walker", help="make the policy of the tree-traversal task: no training")
    walker.add_argument("--out", type=Path, required=True, help="folder of the new policy; must not exist")
    walker.add_argument("--seed", type=int, default=0, help="decides its weights (default 0)")
    walker.set_defaults(call=_walker)
    arguments = parser.parse_args()
    stop_on_sigterm()
    arguments.call(arguments)


def _recipe_command(commands: argparse._SubParsersAction[CommandLine], name: str, text: str) -> CommandLine:
    parser = commands.add_parser(name, help=text)
    parser.add_argument("recipe", help="a name in trainer/recipes/ or the path of a .toml file")
    _set_flag(parser)
    return parser


def _set_flag(parser: CommandLine) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a recipe key"
    )


def _config(arguments: argparse.Namespace, *last: str) -> TrainConfig:
    """Read recipe and overrides, check that the policy is there, and set up what torch reads at import."""
    recipe = named_file(arguments.recipe, RECIPES, "recipe")
    config = load_settings(TrainConfig, recipe, [*arguments.set, *last])
    prepare(config.threads)
    from trainer.policies import policy_folder

    policy_folder(config.policy)
    return config


def _run(arguments: argparse.Namespace) -> None:
    from trainer.replay import check_recording
    from trainer.trackers import check_trackers

    check_trackers(arguments.track)
    config = _config(arguments)
    if config.replay:
        check_recording(Path(config.replay), config, range(1, config.steps + 1))
    if os.environ.get("RANK", "0") == "0":  # of torchrun's processes one has the folder
        claim_folder(arguments.out, "config.json", config)  # the last mistake to find before torch is loaded
    from trainer.loop import train

    train(config, arguments.out, report=lambda line: print(line, flush=True), track=arguments.track)


def _check(arguments: argparse.Namespace) -> None:
    config = _config(arguments)
    from tasks.catalog import load_problems
    from trainer.policies import policy_folder
    from trainer.replay import check_recording

    folder = policy_folder(config.policy)
    if config.replay:
        check_recording(Path(config.replay), config, range(1, config.steps + 1))
    if not load_problems(config.task, "train"):
        raise UserError(f"task={config.task!r}: its train split is empty; fetch the whole set")
    plan = {"steps": config.steps, "checkpoints": config.steps // config.checkpoint_every}
    asks = {"task": config.task, "max_new_tokens": config.max_new_tokens}
    print(json.dumps({"policy": str(folder.absolute()), **plan, **asks}))


def _compare_gradients(arguments: argparse.Namespace) -> None:
    from trainer.arms import ARMS
    from trainer.replay import check_recording

    for arm in arguments.arms:
        if arm not in ARMS:
            raise UserError(f"arm {arm!r}: there is no such arm; {closest(arm, ARMS)}")
    if not all(part.strip().isdecimal() for part in arguments.steps.split(",")):
        raise UserError(f"--steps {arguments.steps!r}: want numbers of steps, for example 1,2")
    steps = [int(part) for part in arguments.steps.split(",")]
    config = _config(arguments)
    check_recording(arguments.rollouts, config, steps)
    checkpoint = arguments.checkpoint or arguments.rollouts.resolve().parent / "checkpoints" / "step_000000"
    if not checkpoint.is_dir():
        raise UserError(f"{checkpoint}: no such folder; name a checkpoint with --checkpoint")
    from trainer.gradients import compare_gradients, gradient_table

    arms = (arguments.arms[0], arguments.arms[1])
    print(gradient_table(arms, compare_gradients(config, arms, arguments.rollouts, checkpoint, steps)))


def _drift(arguments: argparse.Namespace) -> None:
    from trainer.drift import check_steps, drift_report, measure_drift

    check_steps(arguments.steps)
    # a number of steps that fits no checkpoint_every of the recipe is as good as any other here
    steps = [f"steps={arguments.steps}", f"checkpoint_every={arguments.steps}"]
    config = _config(arguments, "learning_rate=0.0", *steps)
    drift = measure_drift(config, arguments.steps, report=lambda line: print(line, flush=True))
    print(f"\n{drift_report(drift)}")
    if drift.after != drift.before:
        sys.exit(1)


def _pretrain(arguments: argparse.Namespace) -> None:
    if arguments.out.exists():
        raise UserError(f"{arguments.out}: exists already; name a new folder")
    prepare(threads=1)
    from tasks.checkpoints import inspect_checkpoint
    from trainer.pretrain import PretrainConfig, pretrain

    config = load_settings(PretrainConfig, RECIPES / "pretrain.toml", arguments.set)
    loss = pretrain(config, arguments.out)
    print(f"{arguments.out}: loss {loss:.4f}, weights {inspect_checkpoint(arguments.out).weights_hash}")


def _walker(arguments: argparse.Namespace) -> None:
    if arguments.out.exists():
        raise UserError(f"{arguments.out}: exists already; name a new folder")
    prepare(threads=1)
    from tasks.checkpoints import inspect_checkpoint
    from trainer.walker import make_walker

    make_walker(arguments.out, arguments.seed)
    print(f"{arguments.out}: weights {inspect_checkpoint(arguments.out).weights_hash}")


def prepare(threads: int) -> None:
    """Set what has to be set before torch and transformers are imported; importing them costs seconds."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    quiet_and_offline()


if __name__ == "__main__":
    sys.exit(run_cli(main))
