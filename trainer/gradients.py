"""Do two arms ask for different updates? Their gradients on identical rollouts and identical weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from tasks.catalog import load_problems
from tasks.checkpoints import check_tokenizer, inspect_checkpoint
from trainer.arms import ARMS
from trainer.batch import build_batch
from trainer.config import TrainConfig
from trainer.policies import policy_folder
from trainer.replay import Graded, read_rollouts
from trainer.update import update

NO_CLIP = 1e30
"""A norm that no finite float32 gradient of a model reaches."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The gradients of two arms on the rollouts of one step."""

    step: int
    groups_with_signal: float
    """Share of groups in which an advantage is not 0."""
    norms: tuple[float, float]
    """Before clipping."""
    cosine: float | None
    """None where a gradient is 0: no group has a signal."""

    @property
    def ratio(self) -> float | None:
        """Return the second norm over the first; None where the first is 0."""
        return self.norms[1] / self.norms[0] if self.norms[0] else None


def compare_gradients(
    config: TrainConfig, arms: tuple[str, str], rollouts: Path, checkpoint: Path, steps: Sequence[int]
) -> list[Comparison]:
    """Compare two arms on recorded rollouts, all at the weights of one checkpoint.

    Args:
        config: temperature, KL term and dtype of the update; its own arm does not matter.
        arms: names in trainer/arms.py.
        rollouts: RUN/rollouts.
        checkpoint: the HF folder whose weights both gradients are taken at.
        steps: which recorded steps.

    Raises:
        UserError: a step is missing or the recording does not fit the configuration.
    """
    base = policy_folder(config.policy)
    check_tokenizer(inspect_checkpoint(checkpoint), inspect_checkpoint(base).tokenizer_hash, str(base))
    torch.set_num_threads(config.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).to(device).eval()
    reference = None
    if config.kl_beta > 0:
        reference = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).to(device).eval()
    problems = load_problems(config.task, "train")
    compared = []
    for step in steps:
        graded = read_rollouts(rollouts, config, step, problems)
        left, right = (
            gradient(model, reference, graded, config.model_copy(update={"arm": arm})) for arm in arms
        )
        compared.append(
            Comparison(
                step=step,
                groups_with_signal=_groups_with_signal(graded, config),
                norms=(float(left.norm()), float(right.norm())),
                cosine=_cosine(left, right),
            )
        )
    return compared


def gradient_table(arms: tuple[str, str], compared: Sequence[Comparison]) -> str:
    """Return an aligned table, one line per step; "-" where a gradient is 0 and has no direction."""
    headers = ["step", "groups with signal", *(f"norm {arm}" for arm in arms), "norm ratio", "cosine"]
    rows = [
        [one.step, f"{one.groups_with_signal:.0%}", *one.norms, one.ratio, one.cosine] for one in compared
    ]
    table: str = tabulate(rows, headers=headers, floatfmt=".6f", missingval="-")
    return table


def gradient(
    model: PreTrainedModel, reference: PreTrainedModel | None, graded: Sequence[Graded], config: TrainConfig
) -> Tensor:
    """Return the gradient of a step before clipping: (parameters,) float64, computed in float32.

    It is the trainer's own update with a learning rate of 0, so it cannot differ from what a run would use.
    """
    batch = build_batch([one.group for one in graded], [one.grades for one in graded], ARMS[config.arm])
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    update(model, reference, still, batch, config.model_copy(update={"gradient_clip": NO_CLIP}))
    parts = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    flat = torch.cat(parts).cpu().double()
    still.zero_grad(set_to_none=True)
    return flat


def _cosine(left: Tensor, right: Tensor) -> float | None:
    scale = float(left.norm() * right.norm())
    return float(left @ right) / scale if scale else None


def _groups_with_signal(graded: Sequence[Graded], config: TrainConfig) -> float:
    batch = build_batch([one.group for one in graded], [one.grades for one in graded], ARMS[config.arm])
    return sum(bool(advantage.any()) for advantage in batch.advantages) / len(batch.advantages)
