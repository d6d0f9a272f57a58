"""Token log-probabilities of a batch of rows: the one place that calls the model with gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trainer.batch import Row


def completion_logprobs(model: PreTrainedModel, rows: Sequence[Row], temperature: float) -> Tensor:
    """Return log p(token | prefix) of every completion token at the sampling temperature.

    Rows are padded on the right. A causal model cannot look at what comes later, so no attention mask is
    needed and no real position can see padding.

    Args:
        model: a causal language model that returns `.logits` (B, T, V) for `input_ids` (B, T).
        rows: B rows.
        temperature: divides the logits, as it did when the tokens were drawn.

    Returns:
        (N,) float32 (float64 for a float64 model), the rows' completion tokens one after the other.
    """
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
    logits_nv = model.get_output_embeddings()(hidden[:, :-1][target_bt[:, 1:]])
    logits_nv = logits_nv.to(torch.promote_types(logits_nv.dtype, torch.float32)) / temperature
    chosen_n = logits_nv.gather(1, ids_bt[target_bt][:, None]).squeeze(1)
    logp_n: Tensor = chosen_n - logits_nv.logsumexp(dim=1)
    return logp_n
