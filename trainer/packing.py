"""The tree forward: the prompt once, every distinct prefix once, and still the exact log-probabilities.

Members of a process set share the hidden state of their common prefix, so one state per distinct prefix is
enough. Everything in a transformer but attention works on states one by one: it runs on the M distinct ones.
For attention alone the states are laid out again as padded rows, where plain causal attention is right
without any mask over the tree. What attention costs is thus what it costs without the tree; all the rest
shrinks to M / (B T).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from trainer.tree import process_tree, spans

ATTENTION = "process_tree"
"""Name of our attention in transformers' registry: SDPA, and the layout below where a forward brings one."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """B sequences as the M distinct prefixes among them; prefix m is named by its last token."""

    ids_m: Tensor
    """(M,) int64 the last token of each prefix; a prefix comes after every shorter one of its own."""
    position_m: Tensor
    """(M,) int64 its position in the sequence, from 0."""
    node_bt: Tensor
    """(B, T) int64 the prefix that sequence b has reached at t; 0 on the padding at the end."""
    node_rt: Tensor
    """(R, T) int64 the rows of node_bt that attention needs: none that is part of another one."""
    keeper_m: Tensor
    """(M,) int64 index into the flat (R T) of the place that computes attention for m."""

    def to(self, device: torch.device) -> Packing:
        """Return the packing on another device."""
        return Packing(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def pack(sequences: Sequence[NDArray[np.int64]]) -> Packing:
    """Find the distinct prefixes of sequences of token ids, prompts included; sharing needs no group."""
    tree = process_tree(sequences)
    offset_v = np.concatenate([[0], np.cumsum(tree.end_v - tree.start_v)])
    width = int(tree.length_g.max())
    ids_m, position_m, keeper_m = (np.empty(offset_v[-1], dtype=np.int64) for _ in range(3))
    node_bt = np.zeros((len(sequences), width), dtype=np.int64)
    for node, (first, last, start, end) in enumerate(spans(tree)):
        here = slice(offset_v[node], offset_v[node + 1])
        # of a sequence and those that go on from it, the last one goes on furthest
        keeper = tree.order_g[last - 1]
        ids_m[here] = sequences[keeper][start:end]
        position_m[here] = np.arange(start, end)
        keeper_m[here] = keeper
        node_bt[tree.order_g[first:last], start:end] = np.arange(here.start, here.stop)
    row_r, row_m = np.unique(keeper_m, return_inverse=True)
    return Packing(
        ids_m=torch.from_numpy(ids_m),
        position_m=torch.from_numpy(position_m),
        node_bt=torch.from_numpy(node_bt),
        node_rt=torch.from_numpy(node_bt[row_r]),
        keeper_m=torch.from_numpy(row_m * width + position_m),
    )


def packed_states(model: PreTrainedModel, packing: Packing) -> Tensor:
    """Return (M, H) the last hidden state of every distinct prefix.

    Raises:
        RuntimeError: `use_tree_attention` was not called; the model would ignore the packing without a word.
    """
    if model.config._attn_implementation != ATTENTION:
        raise RuntimeError(
            f"attention is {model.config._attn_implementation!r}: call use_tree_attention first"
        )
    hidden: Tensor = model.get_decoder()(
        input_ids=packing.ids_m[None],
        position_ids=packing.position_m[None],
        # transformers would build an M x M mask from the positions; it leaves one with four dimensions alone
        attention_mask=torch.zeros((1, 1, 1, 1), device=packing.ids_m.device),
        packing=packing,
        use_cache=False,
    ).last_hidden_state
    return hidden[0]


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packing: Packing | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend causally along every sequence of a packing; ordinary SDPA where the forward has none.

    Args:
        module: the attention layer.
        query: (1, heads, M, D) of every distinct prefix; key and value have as many heads or fewer.
        key: (1, key heads, M, D)
        value: (1, key heads, M, D)
        attention_mask: not read with a packing.
        packing: which rows the prefixes make up.
        kwargs: scaling and dropout, as transformers passes them.

    Returns:
        (1, M, heads, D), and None for the attention weights.
    """
    if packing is None:
        return _attend(module, query, key, value, attention_mask, **kwargs)
    rows, width = packing.node_rt.shape

    def lay_out(states: Tensor) -> Tensor:
        _, heads, count, size = states.shape
        flat = states.transpose(1, 2).reshape(count, heads * size)
        laid = flat.index_select(0, packing.node_rt.reshape(-1))
        return laid.view(rows, width, heads, size).transpose(1, 2)

    # without a mask this is causal
    out, _ = _attend(module, lay_out(query), lay_out(key), lay_out(value), None, **kwargs)
    _, _, heads, size = out.shape
    kept = out.reshape(rows * width, heads * size).index_select(0, packing.keeper_m)
    return kept.view(1, -1, heads, size), None


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Call SDPA; with gradients, in bfloat16 and on the CPU in float32.

    The backward pass of short rows in bfloat16 takes 2 to 10 times as long there.
    """
    if query.device.type != "cpu" or value.dtype != torch.bfloat16 or not torch.is_grad_enabled():
        plain: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, mask, **kwargs)
        return plain
    with torch.autocast("cpu", enabled=False):
        mask = mask.float() if mask is not None and mask.is_floating_point() else mask
        out, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), mask, **kwargs)
    return out.to(value.dtype), None


def use_tree_attention(model: PreTrainedModel) -> None:
    """Give the model an attention that understands a packing; every other forward stays SDPA."""
    if ATTENTION not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(ATTENTION, tree_attention)
        ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(ATTENTION)


def why_not(model: PreTrainedModel) -> str | None:
    """Say why a model cannot take the tree forward; None where it can."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or []) - {"full_attention"}
    if kinds:
        return f"it has layers of type {', '.join(sorted(kinds))}"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return f"its attention sees a window of {config.sliding_window} tokens"
    if getattr(config, "attn_logit_softcapping", None):
        return "it caps attention scores"
    if not model._supports_sdpa:
        return "transformers has no SDPA attention for it"
    return None
