"""Parameters spread over processes with torch's FSDP2, seen as if they were whole."""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType

from torch import Tensor
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from trainer.batch import Row
from trainer.logprobs import Forward, TokenLogprobs, completion_logprobs

METHOD = "sharded_logprobs"
"""Name under which a sharded model holds `completion_logprobs` as a method of its own."""


def shard(model: PreTrainedModel) -> None:
    """Spread the parameters over the processes: each layer by itself, the embeddings with the model."""
    decoder = model.get_decoder()
    for layer in decoder.layers if hasattr(decoder, "layers") else decoder.h:
        fully_shard(layer)
    # by default the outermost stays gathered after a forward, and its parameters are then not the optimizer's
    fully_shard(model, reshard_after_forward=True)
    # decoder and output layer are called one by one, so the gathering of weights hangs on this method
    setattr(model, METHOD, MethodType(completion_logprobs, model))
    register_fsdp_forward_method(model, METHOD)


def logprobs(
    model: PreTrainedModel, rows: Sequence[Row], temperature: float, forward: Forward
) -> TokenLogprobs:
    """Call `completion_logprobs`, through the hooks of a sharded model where it is one."""
    if isinstance(model, FSDPModule):
        streams: TokenLogprobs = getattr(model, METHOD)(rows, temperature, forward)
        return streams
    return completion_logprobs(model, rows, temperature, forward)


def whole(tensor: Tensor) -> Tensor:
    """Return all of a parameter, gradient or moment; every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def spread(tensor: Tensor, like: Tensor) -> Tensor:
    """Lay a whole tensor out as `like` lies: on its device, cut into shards where it is."""
    if isinstance(like, DTensor):
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor.to(like.device)
