"""One optimizer step: log-probabilities, objective, gradient, step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from trainer.batch import Batch, Row
from trainer.config import TrainConfig
from trainer.identities import identity_residual
from trainer.logprobs import completion_logprobs
from trainer.loss import kl_term, policy_term, weighted_loss

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class UpdateResult:
    """What an update did."""

    loss: float
    kl: float
    """Mean D per token; 0 without a reference."""
    gradient_norm: float
    """Before clipping."""
    logprobs: list[Floats]
    """Per row, (T,): the trainer's log-probability of each completion token before the step."""
    residuals: tuple[float, float]
    """Largest GRPO and λ-GRPO identity residual over the groups (trainer/identities.py)."""


def update(
    model: PreTrainedModel,
    reference: PreTrainedModel | None,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: TrainConfig,
) -> UpdateResult:
    """Take one step on the batch; micro-batches only bound the memory.

    Raises:
        FloatingPointError: the loss or the gradient is not finite; the weights are untouched.
    """
    optimizer.zero_grad(set_to_none=True)
    loss, streams = 0.0, []
    for start in range(0, len(batch.rows), config.micro_batch):
        rows = batch.rows[start : start + config.micro_batch]
        logp_n = _logprobs(model, rows, config)
        advantage_n = _spread([row.advantage for row in rows], [len(row.weight_t) for row in rows], logp_n)
        weight_n = torch.from_numpy(np.concatenate([row.weight_t for row in rows])).to(logp_n)
        policy_n = policy_term(logp_n, logp_n.detach(), advantage_n)
        kl_n = _kl(reference, logp_n, rows, config)
        part = weighted_loss(policy_n, kl_n, weight_n, batch.normaliser)
        torch.autograd.backward(part)
        loss += part.item()
        streams.append((logp_n.detach(), torch.ones_like(logp_n), kl_n.detach()))
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip).item()
    if not (np.isfinite(loss) and np.isfinite(norm)):
        raise FloatingPointError(f"loss {loss} and gradient norm {norm}: the step was not taken")
    optimizer.step()
    logprobs, ratios, kls = (_split(torch.cat(stream), batch) for stream in zip(*streams, strict=True))
    return UpdateResult(
        loss=loss,
        kl=float(np.concatenate(kls).mean()),
        gradient_norm=norm,
        logprobs=logprobs,
        residuals=_residuals(batch, ratios, kls),
    )


def _logprobs(model: PreTrainedModel, rows: list[Row], config: TrainConfig) -> Tensor:
    lower = config.update_dtype == "bfloat16"
    with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=lower):
        return completion_logprobs(model, rows, config.temperature)


def _spread(value_b: list[float], length_b: list[int], like: Tensor) -> Tensor:
    return torch.tensor(np.repeat(value_b, length_b)).to(like)


def _kl(reference: PreTrainedModel | None, logp_n: Tensor, rows: list[Row], config: TrainConfig) -> Tensor:
    if reference is None:
        return torch.zeros_like(logp_n)
    with torch.no_grad():
        reference_n = _logprobs(reference, rows, config)
    return kl_term(logp_n, reference_n, config.kl_beta)


def _split(stream_n: Tensor, batch: Batch) -> list[Floats]:
    """Cut a flat stream back into one array per row."""
    ends = np.cumsum([len(row.weight_t) for row in batch.rows])[:-1]
    return list(np.split(stream_n.double().cpu().numpy(), ends))


def _residuals(batch: Batch, ratios: list[Floats], kls: list[Floats]) -> tuple[float, float]:
    worst, start = np.zeros(2), 0
    for tree, advantage_g in zip(batch.trees, batch.advantages, strict=True):
        group = slice(start, start + len(advantage_g))
        worst = np.maximum(worst, identity_residual(tree, advantage_g, ratios[group], kls[group]))
        start = group.stop
    return float(worst[0]), float(worst[1])
