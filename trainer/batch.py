"""Groups and grades to the batch of one optimizer step: flat rows with a weight for every token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.schema import Grade
from trainer.advantages import group_advantages
from trainer.arms import Arm
from trainer.rollouts import RolloutGroup
from trainer.tree import ProcessTree, process_tree

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One completion, ready for the loss."""

    ids: NDArray[np.int64]
    """(P + T,) prompt and completion ids."""
    prompt: int
    """P, tokens of the prompt."""
    advantage: float
    weight_t: Floats
    """(T,) weight of each completion token."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """All rows of an optimizer step; the rows of a group are adjacent."""

    rows: list[Row]
    trees: list[ProcessTree]
    """One per group."""
    advantages: list[Floats]
    """One (G,) array per group."""
    normaliser: float
    """What the weighted sum over the whole step is divided by."""


def build_batch(groups: Sequence[RolloutGroup], grades: Sequence[Sequence[Grade]], arm: Arm) -> Batch:
    """Turn groups and their grades into a batch: rewards -> advantages, ids -> tree -> weights."""
    rows: list[Row] = []
    trees, advantages = [], []
    normaliser = 0.0
    for group, graded in zip(groups, grades, strict=True):
        tokens = [np.array(completion.tokens, dtype=np.int64) for completion in group.completions]
        tree = process_tree(tokens)
        weights = arm.weigh(tree)
        advantage_g = group_advantages([grade.score for grade in graded])
        normaliser += arm.mass(tree, weights)
        trees.append(tree)
        advantages.append(advantage_g)
        rows.extend(
            Row(
                ids=np.concatenate([np.array(group.prompt, dtype=np.int64), ids]),
                prompt=len(group.prompt),
                advantage=float(advantage),
                weight_t=weight,
            )
            for ids, advantage, weight in zip(tokens, advantage_g, weights, strict=True)
        )
    return Batch(rows=rows, trees=trees, advantages=advantages, normaliser=normaliser)
