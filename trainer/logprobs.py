"""Token log-probabilities of a batch of rows: the one place that calls the model with gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from tasks.errors import UserError
from trainer.batch import Row
from trainer.packing import pack, packed_states, use_tree_attention, why_not

Forward = Literal["padded", "tree"]

LOGIT_BUDGET = 1 << 27
"""Most logits in memory at once (512 MiB in float32); more are made in pieces, and again in the backward
pass."""
FORWARD_TOLERANCE = {torch.float64: 1e-3, torch.float32: 1e-3, torch.bfloat16: 0.5}
"""Nats that two forwards of the same weights may differ by on short texts. Rounding gives 1e-6 in float32 and
up to 0.25 in bfloat16; another mask or another output layer gives several."""
MADE_UP = ((3, 5, 4, 7, 6, 8, 3), (9, 4, 5))
"""Token ids of any model, where no text is at hand."""
TREE_PAYS = 0.9
"""Share of the padded tokens below which the tree forward is taken (docs/decisions.md has the
measurement)."""


class TokenLogprobs(NamedTuple):
    """Two streams over the completion tokens of some rows, one row after the other."""

    logp_n: Tensor
    """(N,) log p(token | prefix), with gradient; float32 (float64 for a float64 model)."""
    entropy_n: Tensor
    """(N,) entropy of the distribution that each token was drawn from, in nats, without gradient."""


def completion_logprobs(
    model: PreTrainedModel, rows: Sequence[Row], temperature: float, forward: Forward
) -> TokenLogprobs:
    """Return log p(token | prefix) of every completion token at the sampling temperature.

    Args:
        model: a causal language model; for "tree" one that `use_tree_attention` was called on.
        rows: B rows.
        temperature: divides the logits, as it did when the tokens were drawn.
        forward: "padded" runs each row by itself, "tree" runs each distinct prefix once. Same numbers.
    """
    return (_tree if forward == "tree" else _padded)(model, rows, temperature)


def cheaper_forward(rows: Sequence[Row]) -> Forward:
    """Return the forward that costs less for these rows: everything but attention goes with the tokens."""
    padded = len(rows) * max(len(row.ids) for row in rows)
    distinct = len(pack([row.ids for row in rows]).ids_m)
    return "tree" if distinct < TREE_PAYS * padded else "padded"


def settle_forward(
    model: PreTrainedModel,
    wanted: Literal["auto", "padded", "tree"],
    report: Callable[[str], None],
    texts: Sequence[Sequence[int]] = MADE_UP,
) -> Literal["auto", "padded", "tree"]:
    """Prove the padded forward, make the model ready for the tree forward and prove that, or say why not.

    Args:
        model: the policy or the reference.
        wanted: the recipe's key.
        report: takes one line where the tree forward is not taken.
        texts: two sequences of token ids that the model can make sense of; odd ones amplify rounding.

    Raises:
        UserError: this trainer's log-probabilities are not the model's own, or the tree forward was asked for
            by name and this model cannot take it.
    """
    rows, kind = probe_rows(texts), model.config.model_type
    tolerance = FORWARD_TOLERANCE[model.dtype]
    if (gap := head_gap(model, rows)) > tolerance:
        raise UserError(
            f"a model of type {kind!r} does more after its last layer than its output weights say: its "
            f"log-probabilities would be off by {gap:.1e} nats; this trainer cannot train it"
        )
    if wanted == "padded":
        return wanted
    reason = why_not(model)
    if reason is None:
        try:
            use_tree_attention(model)
            gap = forward_gap(model, rows)
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            reason = f"it ends in {type(error).__name__}"
        else:
            if gap <= tolerance:
                return wanted
            reason = f"its log-probabilities would differ by {gap:.1e} nats"
    if wanted == "tree":
        raise UserError(
            f"forward='tree': a model of type {kind!r} cannot take it, {reason}; set forward='auto'"
        )
    report(f"padded forward: a model of type {kind!r} cannot take the tree forward, {reason}")
    return "padded"


def probe_rows(texts: Sequence[Sequence[int]]) -> list[Row]:
    """Make rows of several lengths that share prefixes: a text, its beginning, the same with another end."""
    first, second = (list(text) for text in texts[:2])
    half = max(2, len(first) // 2)
    return [
        Row(
            ids=np.array(ids),
            prompt=1,
            advantage=0.0,
            weight_t=np.zeros(len(ids) - 1),
            kl_weight_t=np.zeros(len(ids) - 1),
            rollout_logp_t=np.zeros(len(ids) - 1),
        )
        for ids in (first, first[:half], first[:half] + second, second)
    ]


@torch.no_grad()
def forward_gap(model: PreTrainedModel, rows: Sequence[Row]) -> float:
    """Return the largest difference in nats between the two forwards."""
    return _gap(*(completion_logprobs(model, rows, 1.0, forward).logp_n for forward in ("padded", "tree")))


@torch.no_grad()
def head_gap(model: PreTrainedModel, rows: Sequence[Row]) -> float:
    """Return the largest difference in nats between the padded forward and the model's own logits."""
    parts = []
    for row in rows:
        ids = torch.from_numpy(row.ids).to(model.device)
        logp_tv = model(input_ids=ids[None], use_cache=False).logits[0].float().log_softmax(-1)
        parts.append(logp_tv[:-1].gather(1, ids[1:, None])[:, 0])
    return _gap(completion_logprobs(model, rows, 1.0, "padded").logp_n, torch.cat(parts))


def _gap(left_n: Tensor, right_n: Tensor) -> float:
    gap = (left_n - right_n).abs().max().item()
    return gap if np.isfinite(gap) else np.inf


def _padded(model: PreTrainedModel, rows: Sequence[Row], temperature: float) -> TokenLogprobs:
    """Pad on the right. A causal model cannot look at what comes later, so no attention mask is needed."""
    device = next(model.parameters()).device
    width = max(len(row.ids) for row in rows)
    ids_bt = torch.zeros((len(rows), width), dtype=torch.int64)
    target_bt = torch.zeros((len(rows), width), dtype=torch.bool)
    for index, row in enumerate(rows):
        ids_bt[index, : len(row.ids)] = torch.from_numpy(row.ids)
        target_bt[index, row.prompt : len(row.ids)] = True
    ids_bt, target_bt = ids_bt.to(device), target_bt.to(device)
    hidden = model.get_decoder()(input_ids=ids_bt, use_cache=False).last_hidden_state
    # the state before a token predicts it; only those of completion tokens go through the output layer
    return _read_out(model, hidden[:, :-1][target_bt[:, 1:]], ids_bt[target_bt], temperature)


def _tree(model: PreTrainedModel, rows: Sequence[Row], temperature: float) -> TokenLogprobs:
    """Compute each distinct prefix once, and hand its log-probability to every token that it belongs to."""
    packing = pack([row.ids for row in rows])
    node_bt = packing.node_bt.numpy()
    node_n, before_n = (
        np.concatenate(
            [node_bt[at, row.prompt + shift : len(row.ids) + shift] for at, row in enumerate(rows)]
        )
        for shift in (0, -1)
    )
    node_k, first_k, which_n = np.unique(node_n, return_index=True, return_inverse=True)
    device = next(model.parameters()).device
    hidden = packed_states(model, packing.to(device))
    before_k = torch.from_numpy(before_n[first_k]).to(device)
    target_k = packing.ids_m[torch.from_numpy(node_k)].to(device)
    logp_k, entropy_k = _read_out(model, hidden.index_select(0, before_k), target_k, temperature)
    index_n = torch.from_numpy(which_n).to(device)
    return TokenLogprobs(logp_k.index_select(0, index_n), entropy_k.index_select(0, index_n))


def _read_out(
    model: PreTrainedModel, state_nh: Tensor, target_n: Tensor, temperature: float
) -> TokenLogprobs:
    """Return log-probabilities and entropies of target tokens from the states before them."""
    head = model.get_output_embeddings()

    def piece(state_ch: Tensor, target_c: Tensor) -> tuple[Tensor, Tensor]:
        logits_cv = head(state_ch)
        logits_cv = logits_cv.to(torch.promote_types(logits_cv.dtype, torch.float32)) / temperature
        total_c = logits_cv.logsumexp(dim=1)
        chosen_c = logits_cv.gather(1, target_c[:, None]).squeeze(1)
        with torch.no_grad():
            mean_c = (torch.exp(logits_cv - total_c[:, None]) * logits_cv).sum(dim=1)
        return chosen_c - total_c, total_c.detach() - mean_c

    size = max(1, LOGIT_BUDGET // head.weight.shape[0])
    if len(target_n) <= size:
        return TokenLogprobs(*piece(state_nh, target_n))
    pieces = [
        checkpoint(piece, state, target, use_reentrant=False)
        for state, target in zip(torch.split(state_nh, size), torch.split(target_n, size), strict=True)
    ]
    return TokenLogprobs(*(torch.cat(part) for part in zip(*pieces, strict=True)))
