"""The update on one batch: log-probabilities, objective, gradient, step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from trainer.batch import Batch, Row
from trainer.config import TrainConfig
from trainer.distributed import gather, world_size
from trainer.logprobs import Forward, TokenLogprobs, cheaper_forward
from trainer.loss import clipped_tokens, importance_weights, kl_term, policy_term, weighted_loss
from trainer.sharding import logprobs, whole

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class UpdateResult:
    """What an update did. Token streams are cut into one (T,) array per row of the batch."""

    loss: float
    """Of the first inner update."""
    gradient_norms: list[float]
    """Before clipping, one per inner update taken; empty where no token counts and no step was taken."""
    logprobs: list[Floats]
    """The trainer's log-probability of each completion token before the update."""
    kls: list[Floats]
    """D of each token before the update; 0 without a reference."""
    entropies: list[Floats]
    """Entropy of each token's distribution before the update, in nats."""
    importance: list[Floats]
    """π_old/π_rollout of each token before any cap."""
    ratios: list[Floats]
    """P of each token in the last inner update: 1 where there is only one."""
    clipped_low: float
    """Share of tokens whose gradient the lower clip cut off, over all inner updates."""
    clipped_high: float
    tree_rows: float
    """Share of rows that went through the tree forward."""

    @classmethod
    def merged(cls, parts: Sequence[UpdateResult]) -> UpdateResult:
        """Put the results of processes together; loss and gradient norm are those of the whole step."""

        def streams(name: str) -> list[Floats]:
            return [stream for part in parts for stream in getattr(part, name)]

        def mean(name: str, count: list[int]) -> float:
            total = sum(getattr(part, name) * number for part, number in zip(parts, count, strict=True))
            return float(total / max(sum(count), 1))

        tokens = [sum(map(len, part.logprobs)) for part in parts]
        return cls(
            loss=parts[0].loss,
            gradient_norms=parts[0].gradient_norms,
            logprobs=streams("logprobs"),
            kls=streams("kls"),
            entropies=streams("entropies"),
            importance=streams("importance"),
            ratios=streams("ratios"),
            clipped_low=mean("clipped_low", tokens),
            clipped_high=mean("clipped_high", tokens),
            tree_rows=mean("tree_rows", [len(part.logprobs) for part in parts]),
        )


class Piece:
    """A micro-batch: rows, their constant streams, and what the first pass over them found."""

    def __init__(self, rows: Sequence[Row], device: torch.device, forward: Forward) -> None:
        lengths = [len(row.weight_t) for row in rows]
        self.rows = rows
        self.forward = forward
        self.advantage_n = torch.tensor(np.repeat([row.advantage for row in rows], lengths), device=device)
        self.weight_n, self.kl_weight_n, self.rollout_n = (
            torch.from_numpy(np.concatenate(streams)).to(device)
            for streams in zip(*((r.weight_t, r.kl_weight_t, r.rollout_logp_t) for r in rows), strict=True)
        )
        self.first: TokenLogprobs | None = None
        self.reference_n: Tensor | None = None
        self.ratio_n = self.kl_n = torch.empty(0)
        self.clipped = torch.zeros(2)

    def loss(
        self,
        model: PreTrainedModel,
        reference: PreTrainedModel | None,
        normaliser: float,
        config: TrainConfig,
    ) -> Tensor:
        """Return the piece's part of the loss; the first call fixes the old policy and the reference."""
        current = self._logprobs(model, config)
        logp_n = current.logp_n
        if self.first is None:
            self.first = TokenLogprobs(logp_n.detach(), current.entropy_n)
            self.kl_n = torch.zeros_like(self.first.logp_n)
            if reference is not None:
                with torch.no_grad():
                    self.reference_n = self._logprobs(reference, config).logp_n
                    self.kl_n = kl_term(self.first.logp_n, self.reference_n, config.kl_beta)
        advantage_n, weight_n = self.advantage_n.to(logp_n), self.weight_n.to(logp_n)
        ratio_n = torch.exp(logp_n - self.first.logp_n)
        policy_n = policy_term(ratio_n, advantage_n, config.clip_low, config.clip_high)
        if config.importance_cap is not None:
            policy_n = policy_n * self.importance(config.importance_cap)
        kl_n = torch.zeros_like(logp_n)
        if self.reference_n is not None:
            kl_n = kl_term(logp_n, self.reference_n, config.kl_beta)
        self.ratio_n = ratio_n.detach()
        cut = clipped_tokens(self.ratio_n, advantage_n, config.clip_low, config.clip_high)
        self.clipped += torch.stack([one.sum() for one in cut]).cpu()
        return weighted_loss(policy_n, kl_n, weight_n, self.kl_weight_n.to(logp_n), normaliser)

    def importance(self, cap: float) -> Tensor:
        """Return (N,) min(π_old/π_rollout, cap), once the first pass has been made."""
        assert self.first is not None
        return importance_weights(self.first.logp_n, self.rollout_n.to(self.first.logp_n), cap)

    def _logprobs(self, model: PreTrainedModel, config: TrainConfig) -> TokenLogprobs:
        lower = config.update_dtype == "bfloat16"
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=lower):
            return logprobs(model, self.rows, config.temperature, self.forward)


def update(
    model: PreTrainedModel,
    reference: PreTrainedModel | None,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: TrainConfig,
) -> UpdateResult:
    """Take `updates_per_batch` steps on the batch; micro-batches only bound the memory.

    Raises:
        FloatingPointError: the loss or the gradient is not finite; the step was not taken.
    """
    pieces = cut_pieces(batch.rows, model.device, config)
    # a sharded forward needs every process, so those with fewer pieces than others run an idle one
    idle = [idle_piece(model.device) for _ in range(max(gather(len(pieces))) - len(pieces))]
    losses, norms = [0.0], []
    if batch.normaliser > 0:
        losses = []
        for _ in range(config.updates_per_batch):
            loss, norm = accumulate(model, reference, optimizer, pieces + idle, batch.normaliser, config)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise FloatingPointError(f"loss {loss} and gradient norm {norm}: the step was not taken")
            optimizer.step()
            losses.append(loss)
            norms.append(norm)
    return summarise(batch, pieces, losses[0], norms)


def cut_pieces(rows: Sequence[Row], device: torch.device, config: TrainConfig) -> list[Piece]:
    """Cut the rows into micro-batches and choose the forward of each."""
    size = config.micro_batch
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [
        Piece(part, device, cheaper_forward(part) if config.forward == "auto" else config.forward)
        for part in parts
    ]


def idle_piece(device: torch.device) -> Piece:
    """Return a piece whose loss is 0, whatever the model."""
    none = np.zeros(1)
    row = Row(
        ids=np.zeros(2, dtype=np.int64),
        prompt=1,
        advantage=0.0,
        weight_t=none,
        kl_weight_t=none,
        rollout_logp_t=none,
    )
    return Piece([row], device, "padded")


def accumulate(
    model: PreTrainedModel,
    reference: PreTrainedModel | None,
    optimizer: torch.optim.Optimizer,
    pieces: Sequence[Piece],
    normaliser: float,
    config: TrainConfig,
) -> tuple[float, float]:
    """Leave the gradient of the whole batch in the parameters; return loss and norm before clipping."""
    optimizer.zero_grad(set_to_none=True)
    loss = 0.0
    for piece in pieces:
        part = piece.loss(model, reference, normaliser, config)
        torch.autograd.backward(part * world_size())  # FSDP takes the mean over processes; the loss is a sum
        loss += part.item()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
    return sum(gather(loss)), float(whole(norm))


def summarise(batch: Batch, pieces: Sequence[Piece], loss: float, norms: list[float]) -> UpdateResult:
    """Gather the streams of all pieces."""
    done = [(piece, piece.first) for piece in pieces if piece.first is not None]
    ends = np.cumsum([len(row.weight_t) for row in batch.rows])[:-1]

    def cut(streams: list[Tensor]) -> list[Floats]:
        if not streams:
            return []
        return list(np.split(torch.cat(streams).double().cpu().numpy(), ends))

    tokens = sum(len(first.logp_n) for _, first in done)
    low, high = (float(sum(piece.clipped[side] for piece in pieces)) for side in (0, 1))
    return UpdateResult(
        loss=loss,
        gradient_norms=norms,
        logprobs=cut([first.logp_n for _, first in done]),
        kls=cut([piece.kl_n for piece, _ in done]),
        entropies=cut([first.entropy_n for _, first in done]),
        importance=cut([piece.importance(math.inf) for piece, _ in done]),
        ratios=cut([piece.ratio_n for piece, _ in done]),
        clipped_low=low / max(tokens * len(norms), 1),
        clipped_high=high / max(tokens * len(norms), 1),
        tree_rows=sum(len(p.rows) for p in pieces if p.forward == "tree") / max(len(batch.rows), 1),
    )
