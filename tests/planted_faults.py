"""Faults planted in the trainer from outside, to see whether the gate finds them: the product has no switch.

`python tests/planted_faults.py FAULT run RECIPE --out OUT ...` changes one thing in memory and goes on as
`python -m trainer run RECIPE --out OUT ...`. tests/gate_proof.py makes a suite of each and runs the gate.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

import trainer.arms
import trainer.batch
import trainer.loop
import trainer.open_policy
import trainer.packing
import trainer.update
from tasks.engines import Finish, transformers_engine
from tasks.errors import UserError, closest, run_cli
from trainer.__main__ import main as train


def unchanged() -> None:
    """Control: the trainer as it is."""


def padded_forward() -> None:
    """Control: each row by itself instead of each prefix once. The same numbers but for rounding."""
    trainer.update.cheaper_forward = lambda rows: "padded"  # type: ignore[assignment]


def advantage_sign() -> None:
    """Good completions are pushed down."""
    plain = trainer.batch.group_advantages
    trainer.batch.group_advantages = lambda *args, **keys: -plain(*args, **keys)


def lambda_inverted() -> None:
    """Tokens weigh |λ| instead of 1/|λ|."""
    arm = trainer.arms.ARMS["lambda_grpo"]

    def weigh(*args: Any) -> list[Any]:
        return [1 / weight_t for weight_t in trainer.arms.inverse_set_size(*args)]

    trainer.arms.ARMS["lambda_grpo"] = replace(arm, weigh=weigh)


def lambda_off() -> None:
    """Every token weighs 1: GRPO under the name of λ-GRPO."""
    arm = trainer.arms.ARMS["lambda_grpo"]
    trainer.arms.ARMS["lambda_grpo"] = replace(arm, weigh=trainer.arms.ones)


def _learning_rate(factor: float) -> None:
    """Where the step is taken: the rate that is logged is the right one."""
    plain = trainer.loop.update

    def update(model: Any, reference: Any, optimizer: Any, *args: Any) -> Any:
        for group in optimizer.param_groups:
            group["lr"] *= factor
        return plain(model, reference, optimizer, *args)

    trainer.loop.update = update


def learning_rate_tenth() -> None:
    """The optimizer steps a tenth as far as the log says."""
    _learning_rate(0.1)


def learning_rate_tenfold() -> None:
    """The optimizer steps ten times as far as the log says."""
    _learning_rate(10.0)


def eos_dropped() -> None:
    """The end-of-sequence token weighs nothing, so nothing learns to stop."""
    plain = trainer.batch.build_group

    def build_group(group: Any, *args: Any) -> Any:
        built = plain(group, *args)
        rows = [
            row
            if completion.finish is Finish.LENGTH
            else replace(
                row, weight_t=_without_last(row.weight_t), kl_weight_t=_without_last(row.kl_weight_t)
            )
            for row, completion in zip(built.rows, group.completions, strict=True)
        ]
        return replace(built, rows=rows)

    trainer.batch.build_group = build_group


def _without_last(weight_t: Any) -> Any:
    return np.concatenate([weight_t[:-1], [0.0]])


def kl_sign() -> None:
    """D has the wrong sign: the policy is driven away from the reference."""
    plain = trainer.update.kl_term
    trainer.update.kl_term = lambda *args: -plain(*args)


def kl_added() -> None:
    """D is right, and the loss adds it instead of subtracting it."""
    plain = trainer.update.weighted_loss

    def weighted_loss(policy: Any, kl: Any, *args: Any) -> Any:
        return plain(policy, -kl, *args)

    trainer.update.weighted_loss = weighted_loss


def rewards_shuffled() -> None:
    """The grades of a group reach its completions in random order."""
    plain = trainer.loop.build_batch

    def build_batch(groups: Any, grades: Sequence[Sequence[Any]], config: Any, step: int) -> Any:
        generator = np.random.default_rng([config.seed, step])
        mixed = [[graded[at] for at in generator.permutation(len(graded))] for graded in grades]
        return plain(groups, mixed, config, step)

    trainer.loop.build_batch = build_batch


def padding_mask_dropped() -> None:
    """The rollout engine lets completions attend to the padding in front of their prompt."""
    plain = transformers_engine.left_pad
    transformers_engine.left_pad = lambda *args, **keys: (plain(*args, **keys)[0], None)


def tree_mask_dropped() -> None:
    """After the proof at the start, the tree forward treats its packed row as one text."""
    plain, proved = trainer.packing.pack, trainer.loop.open_policy

    def pack(texts: Any) -> Any:
        packing = plain(texts)
        tokens = len(packing.ids_m)
        one = plain([packing.ids_m.tolist()])
        assert len(one.ids_m) == tokens
        return replace(one, node_bt=packing.node_bt, position_m=packing.position_m)

    def open_policy(*args: Any) -> Any:
        policy = proved(*args)
        import trainer.logprobs

        trainer.logprobs.pack = pack
        return policy

    trainer.loop.open_policy = open_policy


def stale_rollouts() -> None:
    """Completions are drawn from the starting policy throughout."""
    plain = trainer.open_policy.open_engine

    def open_engine(*args: Any, model: Any, **keys: Any) -> Any:
        return plain(*args, model=copy.deepcopy(model), **keys)

    trainer.open_policy.open_engine = open_engine


def stale_by_a_step() -> None:
    """Completions are drawn from the policy before the last update."""
    plain_open, plain_update = trainer.open_policy.open_engine, trainer.loop.update
    behind: list[Any] = []

    def open_engine(*args: Any, model: Any, **keys: Any) -> Any:
        behind.append(copy.deepcopy(model))
        return plain_open(*args, model=behind[0], **keys)

    def update(model: Any, *args: Any) -> Any:
        behind[0].load_state_dict(copy.deepcopy(model.state_dict()))
        return plain_update(model, *args)

    trainer.open_policy.open_engine = open_engine
    trainer.loop.update = update


def engine_not_told() -> None:
    """The engine has a copy of its own and is proved after each update, but the new weights are not sent."""
    stale_rollouts()
    plain = trainer.loop.open_policy

    def open_policy(*args: Any) -> Any:
        policy = replace(plain(*args), live=False)
        policy.engine.update = lambda weights: None  # type: ignore[method-assign]
        return policy

    trainer.loop.open_policy = open_policy


CONTROLS: dict[str, Callable[[], None]] = {one.__name__: one for one in (unchanged, padded_forward)}
"""What the gate must let pass."""
FAULTS: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        advantage_sign,
        lambda_inverted,
        lambda_off,
        learning_rate_tenth,
        learning_rate_tenfold,
        eos_dropped,
        kl_sign,
        kl_added,
        rewards_shuffled,
        padding_mask_dropped,
        tree_mask_dropped,
        stale_rollouts,
        stale_by_a_step,
        engine_not_told,
    )
}
"""What it must find."""


def main() -> None:
    """Plant the fault that is named first and go on as the trainer."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    known = CONTROLS | FAULTS
    if name not in known:
        raise UserError(f"fault {name!r}: there is none of that name; {closest(name, known)}")
    torch.set_num_threads(1)
    known[name]()
    train()


if __name__ == "__main__":
    sys.exit(run_cli(main))
