"""Choose an engine, and say in one line why vLLM cannot be it."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from tasks.asking import read_json
from tasks.checkpoints import model_folder
from tasks.engines import Dtype, Engine, EngineName
from tasks.errors import UserError, closest

if TYPE_CHECKING:
    from torch import nn

INSTALL = "`pip install -e .[vllm]` for a GPU, `python -m tasks.engines.install` for a CPU"


def vllm_installed() -> bool:
    """Say whether the package is there at all, without importing it."""
    return importlib.util.find_spec("vllm") is not None


@cache
def vllm_problem() -> str | None:
    """Return in one line why vLLM cannot be used, or None. Imports it (10 to 20 s) where it is there."""
    if not vllm_installed():
        return "vllm is not installed"
    try:
        from tasks.engines.vllm_engine import load_vllm

        load_vllm()
    # A build that does not match its torch fails in many ways: missing libraries (OSError), operators
    # (RuntimeError, AttributeError), modules (ImportError). All mean the same to the caller.
    except Exception as error:  # noqa: BLE001
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    return None


def open_engine(
    name: EngineName,
    folder: Path,
    *,
    dtype: Dtype,
    max_model_len: int,
    max_sequences: int,
    model: nn.Module | None,
    gpu_memory_share: float,
) -> Engine:
    """See `tasks.engines.open_engine`."""
    if name not in get_args(EngineName):
        raise UserError(f"engine {name!r}: there is none of that name; {closest(name, get_args(EngineName))}")
    _check_positions(folder, max_model_len)
    problem = vllm_problem() if name != "transformers" else None
    if name == "vllm" and problem:
        raise UserError(f"engine 'vllm': {problem}; use --engine transformers, or install it: {INSTALL}")
    if name == "auto" and problem and vllm_installed():
        sys.stderr.write(f"engine: transformers, because vllm does not load ({problem})\n")
    if name == "transformers" or problem:
        from tasks.engines.transformers_engine import TransformersEngine

        return TransformersEngine(
            folder, dtype=dtype, max_model_len=max_model_len, max_sequences=max_sequences, model=model
        )
    from tasks.engines.vllm_engine import VllmEngine

    return VllmEngine(
        folder,
        dtype=dtype,
        max_model_len=max_model_len,
        max_sequences=max_sequences,
        gpu_memory_share=gpu_memory_share,
    )


def _check_positions(folder: Path, max_model_len: int) -> None:
    """Beyond its last position a model fails (GPT-2) or, worse, goes on with positions it never saw."""
    config = read_json(model_folder(folder) / "config.json")
    last = config.get("max_position_embeddings", config.get("n_positions"))
    if isinstance(last, int) and max_model_len > last:
        raise UserError(
            f"max_model_len={max_model_len}: {folder} has {last} positions; ask for at most that many"
        )
