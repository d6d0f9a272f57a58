"""Are the tensors inside vLLM those of the file? Asked of what it computes with, not of what it was given.

vLLM joins layers (q, k, v; gate, up), and its CPU build keeps packed copies that cannot be read. So a tensor
that lies open is compared bit by bit, and a packed one by what its own kernel makes of known inputs:

- unit vectors give columns of the weight, exactly, in any dtype: COLUMNS of them, always the same;
- one vector of random signs adds up every row: no element escapes, but a change below the rounding of the
  sum does.

Not seen: a change of a packed tensor that is outside of those columns and below that rounding, and whatever
is no tensor of the file (rotary tables, scales that vLLM makes). The log-probs of the probes cover those.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tasks.errors import UserError

COLUMNS = 32
ROUNDING = 1e-6
"""Of a float32 sum, as a share of sqrt(terms) times the norm of a row; about ten times what is seen."""


class Place(NamedTuple):
    """A parameter of the engine and the tensors of the file that it is made of, top to bottom."""

    path: str
    leaf: str
    names: list[str]


class Readback(NamedTuple):
    """What came of comparing."""

    stale: list[str]
    """Tensors of the file that the engine does not hold."""
    unseen: list[str]
    """Tensors of the file that were not found in the engine, and parameters of it that were not compared."""


def read_back(model: nn.Module, weights: Mapping[str, Tensor]) -> Readback:
    """Compare a model inside vLLM with the tensors of a checkpoint, named as in its files."""
    modules = dict(model.named_modules())
    places = find_places(model, weights)
    stale: list[str] = []
    unseen = sorted(weights.keys() - {name for place in places for name in place.names})
    for place in places:
        parts = [weights[name] for name in place.names]
        if not held(modules[place.path], place.leaf, parts):
            stale += place.names
    stale += stale_head(model, weights, {place.path for place in places})
    covered = {f"{place.path}.{place.leaf}" for place in places}
    unseen += sorted(name for name, _ in model.named_parameters() if name not in covered)
    return Readback(stale, unseen)


def check_seen(
    unseen: Collection[str], stored: Collection[str], names: Collection[str], folder: Path
) -> None:
    """Refuse a comparison that left out what the engine computes with: it would pass whatever is there.

    Args:
        unseen: of `read_back`.
        stored: tensors of the file.
        names: of the model's parameters in transformers; what a file holds besides is read by nobody.
        folder: of the file.

    Raises:
        UserError: names a tensor that could not be compared.
    """
    lost = [name for name in unseen if name in names or name not in stored]
    if lost:
        raise UserError(
            f"{folder}: {lost[0]!r} cannot be compared with what vLLM holds, which has other names "
            f"({len(lost)} tensors); use --engine transformers for this architecture"
        )


def find_places(model: nn.Module, weights: Mapping[str, Tensor]) -> list[Place]:
    """Find the parameter of the engine that each tensor of the file went to."""
    modules = dict(model.named_modules())
    joined: dict[str, tuple[str, int]] = {
        part: (whole, at)
        for whole, parts in (getattr(model, "packed_modules_mapping", None) or {}).items()
        for at, part in enumerate(parts)
    }
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name in weights:
        path, _, leaf = name.rpartition(".")
        parent, _, last = path.rpartition(".")
        whole, at = joined.get(last, (last, 0))
        target = f"{parent}.{whole}" if parent else whole
        if target not in modules:
            target, at = path, 0
        if target in modules and hasattr(modules[target], leaf):
            found.setdefault((target, leaf), []).append((at, name))
    return [Place(*key, [name for _, name in sorted(parts)]) for key, parts in found.items()]


def stale_head(model: nn.Module, weights: Mapping[str, Tensor], seen: set[str]) -> list[str]:
    """Compare a head that is tied to the embedding and so has no tensor of its own in the file."""
    head: Any = getattr(model, "lm_head", None)
    if head is None or "lm_head" in seen:
        return []
    tables = [
        f"{path}.weight"
        for path, module in model.named_modules()
        if type(module).__name__ == "VocabParallelEmbedding" and f"{path}.weight" in weights
    ]
    return [name for name in tables if not held_by_kernel(head, [weights[name]])]


def held(module: Any, leaf: str, parts: Sequence[Tensor]) -> bool:
    """Say whether a parameter is what these tensors make when one is put below the other."""
    looked_up = type(module).__name__ == "VocabParallelEmbedding"
    if leaf == "weight" and hasattr(module, "cpu_linear") and not looked_up:
        return held_by_kernel(module, parts)
    parameter: Tensor = getattr(module, leaf)
    whole = torch.cat(list(parts)).to(parameter.device, parameter.dtype)
    return any(
        one.shape == parameter[: len(one)].shape and torch.equal(one, parameter[: len(one)])
        for one in (whole, whole.mT if whole.ndim == 2 else whole)  # GPT-2's files hold it transposed
    )


def held_by_kernel(layer: Any, parts: Sequence[Tensor]) -> bool:
    """Say the same of a packed layer, from what it makes of COLUMNS unit vectors and one vector of signs."""
    whole = torch.cat(list(parts)).to(layer.weight.device, layer.weight.dtype)  # an empty one has them too
    # the kernel does not check what it is given: another width would overwrite memory
    inputs = (
        layer.input_size_per_partition if hasattr(layer, "input_size_per_partition") else layer.embedding_dim
    )
    shaped = [one for one in (whole, whole.T) if one.shape[1] == inputs]
    return any(_answers_as(layer, one) for one in shaped)


def _answers_as(layer: Any, weight_oi: Tensor) -> bool:
    outputs, inputs = weight_oi.shape
    generator = torch.Generator().manual_seed(0)
    columns = torch.randperm(inputs, generator=generator)[:COLUMNS]
    sign_i = (torch.randint(2, (inputs,), generator=generator) * 2 - 1).to(weight_oi)
    asked_pi = torch.zeros(len(columns) + 1, inputs).to(weight_oi)
    asked_pi[torch.arange(len(columns)), columns] = 1
    asked_pi[-1] = sign_i
    answer_po: Tensor = layer.quant_method.apply(layer, asked_pi, None)[:, :outputs]  # a head is padded
    if answer_po.shape != (len(asked_pi), outputs):
        return False
    wanted_o = weight_oi.float() @ sign_i.float()
    room_o = ROUNDING * inputs**0.5 * weight_oi.float().norm(dim=1)
    room_o += wanted_o.abs() * torch.finfo(weight_oi.dtype).eps
    exact = torch.equal(answer_po[:-1], weight_oi.T[columns])
    return exact and bool(((answer_po[-1].float() - wanted_o).abs() <= room_o).all())
