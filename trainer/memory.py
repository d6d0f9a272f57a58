"""How much memory the process has needed at most so far."""

from __future__ import annotations

import resource
import sys

import torch

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in one unit of `ru_maxrss`."""


def peak_memory() -> dict[str, int]:
    """Return bytes: the process's largest resident size, and PyTorch's largest allocation where CUDA is."""
    peak = {"memory/peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT}
    if torch.cuda.is_available():
        peak["memory/peak_cuda_bytes"] = torch.cuda.max_memory_allocated()
    return peak
