"""Parameters spread over processes with torch's FSDP2, seen as if they were whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MethodType

from torch import Tensor
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
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
    fully_shard(model)
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


def whole_parameters(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Give every parameter whole, by its name in the HF state dict; every process must ask for all of
    them."""
    for name, parameter in model.named_parameters():
        yield name, whole(parameter.detach())
