"""TRL's GRPOTrainer on our recipe: `python -m trainer.peers.trl_grpo RECIPE --out DIR [--lambda-weights]`.

docs/peers.md says what agrees with our trainer and what cannot. This module only reads the command line: it
is light, so that a mistake is answered before TRL is loaded.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tasks.errors import CommandLine, UserError, run_cli, stop_on_sigterm
from tasks.settings import claim_folder, load_settings, named_file
from trainer.__main__ import RECIPES, prepare
from trainer.config import TrainConfig

HONOURED = {
    "activation_checkpointing",
    "arm",
    "checkpoint_every",
    "clip_high",
    "clip_low",
    "dtype",
    "engine",
    "gradient_clip",
    "group_size",
    "kl_beta",
    "learning_rate",
    "learning_rate_end",
    "max_new_tokens",
    "max_prompt_tokens",
    "micro_batch",
    "policy",
    "problems_per_step",
    "schedule",
    "seed",
    "steps",
    "task",
    "temperature",
    "threads",
    "trainer",
    "update_dtype",
    "warmup_steps",
    "weight_decay",
}
"""Recipe keys that TRL can do as we do; another key must have its default value."""


class TrlConfig(TrainConfig):
    """Our recipe, trained by TRL: another `config_hash` than that of our own trainer."""

    trainer: Literal["trl"] = "trl"
    """Who trains."""


def main() -> None:
    """Run the command line."""
    parser = CommandLine(prog="python -m trainer.peers.trl_grpo", description=__doc__)
    parser.add_argument("recipe", help="a name in trainer/recipes/ or the path of a .toml file")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--lambda-weights", action="store_true", help="λ-GRPO: 1/|λ| on TRL's token loss")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a recipe key"
    )
    arguments = parser.parse_args()
    stop_on_sigterm()
    config = read_config(arguments)
    if find_spec("trl") is None:
        raise UserError("the package trl is not installed; run `pip install -e .[trl]`")
    prepare(config.threads)
    from trainer.policies import policy_folder

    policy_folder(config.policy)
    claim_folder(arguments.out, "config.json", config)  # the last mistake to find before TRL is loaded
    from trainer.peers.trl_run import train

    train(config, arguments.out, report=lambda line: print(line, flush=True))


def read_config(arguments: argparse.Namespace) -> TrlConfig:
    """Return the recipe with its overrides; the arm comes from --lambda-weights alone.

    Raises:
        UserError: the recipe asks for something that TRL cannot do.
    """
    arm = "lambda_grpo" if arguments.lambda_weights else "grpo"
    recipe = named_file(arguments.recipe, RECIPES, "recipe")
    config = load_settings(TrlConfig, recipe, [*arguments.set, f"arm={arm}"])
    check_honoured(config)
    return config


def check_honoured(config: TrlConfig) -> None:
    """Refuse what TRL would ignore or do otherwise.

    Raises:
        UserError: names the first such key.
    """
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if name not in HONOURED and value != field.default:
            raise UserError(
                f"{name}={value!r}: TRL's trainer has no such option; leave it at {field.default!r}"
            )
    if config.arm not in ("grpo", "lambda_grpo"):
        raise UserError(f"arm={config.arm!r}: TRL trains grpo, or lambda_grpo by --lambda-weights")
    if config.engine == "vllm":
        raise UserError("engine='vllm': the TRL adapter decodes with transformers; set engine=transformers")
    if config.dtype != config.update_dtype:
        raise UserError(
            f"dtype={config.dtype!r} with update_dtype={config.update_dtype!r}: TRL decodes with the module "
            "that it trains, in one dtype; set both alike"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("WORLD_SIZE above 1: the TRL adapter runs in one process; start it without torchrun")
    completions = config.problems_per_step * config.group_size
    if completions % config.micro_batch:
        raise UserError(
            f"micro_batch={config.micro_batch}: TRL cuts the {completions} completions of a step into equal "
            "parts; choose a divisor"
        )


if __name__ == "__main__":
    sys.exit(run_cli(main))
