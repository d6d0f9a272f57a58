"""λ-GRPO for TRL: one override of its GRPOTrainer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from trainer.tree import process_set_sizes, process_tree


class LambdaGRPOTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL is not typed
    """GRPOTrainer whose finished token loss, KL term included, is divided by |λ| (arXiv 2509.21154, eq. 9).

    Groups are whole and in order only here: TRL shuffles the members over its micro-batches afterwards, and a
    tensor of the same dictionary goes the same way. `tool_mask` is TRL's per-token factor of the loss. It
    does not touch attention, and `num_items_in_batch`, the token count that `dapo` divides by, is counted
    already. TRL's means over tokens (entropy, kl, clip_ratio) use it too: they are means over tree nodes.
    """

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if self.loss_type != "dapo" or self.importance_sampling_level != "token":
            raise ValueError("λ weights are defined for loss_type='dapo' with token-level ratios only")
        if self.mask_truncated_completions:
            raise ValueError("masked completions would leave |λ|, where they belong; keep them")
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if "tool_mask" in batch:
            raise ValueError("λ weights take the place of TRL's tool_mask; train without tools")
        batch["tool_mask"] = inverse_set_sizes(
            batch["completion_ids"], batch["completion_mask"], self.num_generations
        )
        return batch


def inverse_set_sizes(ids_bt: Tensor, mask_bt: Tensor, group_size: int) -> Tensor:
    """Return (B, T) float32: 1/|λ| where the mask is 1, else 0. Every `group_size` rows are a group.

    Args:
        ids_bt: (B, T) completion ids, padded on the right.
        mask_bt: (B, T) 1 for real tokens, the end-of-sequence token included, then 0.
        group_size: G.
    """
    length_b = mask_bt.sum(dim=1).tolist()
    rows = [ids[:length].tolist() for ids, length in zip(ids_bt, length_b, strict=True)]
    weight_bt = torch.zeros(mask_bt.shape)
    for start in range(0, len(rows), group_size):
        sizes = process_set_sizes(process_tree(rows[start : start + group_size]))
        for row, size in enumerate(sizes, start=start):
            weight_bt[row, : len(size)] = torch.from_numpy(1.0 / size).float()
    return weight_bt.to(ids_bt.device)
