"""The arms: what each token of a group weighs and what the sum is divided by. The loss knows nothing more.

Every arm is a function from the process tree of a group to one weight per token; the normaliser is added up
over all groups of an optimizer step, so it depends on no micro-batch split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.tree import ProcessTree, process_set_sizes

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to weigh the tokens of a group."""

    weigh: Callable[[ProcessTree], list[Floats]]
    """Tree of a group -> G arrays (len(y_i),): the weight of each token's finished term, KL included."""
    mass: Callable[[ProcessTree, list[Floats]], float]
    """Tree and weights of a group -> its share of the normaliser."""


def ones(tree: ProcessTree) -> list[Floats]:
    """Weigh every token 1: GRPO."""
    return [np.ones(length, dtype=np.float64) for length in tree.length_g]


def inverse_set_size(tree: ProcessTree) -> list[Floats]:
    """Weigh token (i,t) by 1/|λ(i,t)|: λ-GRPO (arXiv 2509.21154, eq. 9)."""
    return [1.0 / size for size in process_set_sizes(tree)]


def token_count(tree: ProcessTree, weights: list[Floats]) -> float:
    """Count the tokens of the group: with all groups of a step, the token mean N of DAPO."""
    del weights  # N is the plain token count for every weighting
    return float(tree.length_g.sum())


ARMS = {
    "grpo": Arm(weigh=ones, mass=token_count),
    "lambda_grpo": Arm(weigh=inverse_set_size, mass=token_count),
}
"""Name -> arm, as in a recipe's `arm` key."""
