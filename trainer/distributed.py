"""Several processes, one update: groups are spread over ranks, sums run over all of them.

Launched by `torchrun --nproc_per_node=N -m trainer run ...`; without torchrun there is one process and
nothing here does anything. A group never spans two ranks, so its tree and its advantages need no
communication.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from tasks.provenance import processor

T = TypeVar("T")


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun has started, if any."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(device())
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def device() -> torch.device:
    """Return the device of this process: its own GPU, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def device_name(device: torch.device) -> str:
    """Return what seconds of training compare on: the name of a GPU, or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor() or "cpu"


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(items: list[T]) -> list[T]:
    """Return this rank's contiguous part of a list whose length the number of ranks divides."""
    size = len(items) // world_size()
    return items[rank() * size : (rank() + 1) * size]


def gather(item: T) -> list[T]:
    """Return the item of every rank, in the order of ranks, on every rank."""
    if world_size() == 1:
        return [item]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, item)
    return cast("list[T]", found)


def flat(parts: Iterable[list[T]]) -> list[T]:
    """Put lists one after the other."""
    return [item for part in parts for item in part]
