"""Checkpoints as ordinary HF folders, and the optimizer state beside them for an exact resume.

Only safetensors and JSON are written or read: no pickle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from tasks.files import new_folder, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def step_folder(out: Path, step: int) -> Path:
    """Return where the checkpoint of a step lies."""
    return out / "checkpoints" / f"step_{step:06d}"


def save_checkpoint(out: Path, step: int, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write an HF folder under a temporary name and rename it."""
    with new_folder(step_folder(out, step)) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def save_state(out: Path, step: int, tokens: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the optimizer's moments and the counters that a resume needs; one state, the latest."""
    tensors = {
        f"{moment}/{name}": optimizer.state[parameter][moment].contiguous()
        for name, parameter in model.named_parameters()
        for moment in MOMENTS
    }
    with new_folder(out / "state") as folder:
        save_file(tensors, folder / "optimizer.safetensors")
        write_json(folder / "counters.json", {"step": step, "tokens": tokens})


def saved_step(out: Path) -> tuple[int, int]:
    """Return (step, tokens) of the saved state; (0, 0) where a run has to start from the beginning.

    The state is written after its checkpoint, so only a deleted checkpoint leaves a state alone.
    """
    path = out / "state" / "counters.json"
    if not path.exists():
        return 0, 0
    counters = json.loads(path.read_text(encoding="utf-8"))
    if not step_folder(out, counters["step"]).exists():
        return 0, 0
    return counters["step"], counters["tokens"]


def load_state(out: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put saved moments back into a fresh optimizer over the same parameters."""
    tensors = load_file(out / "state" / "optimizer.safetensors")
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            moment: tensors[f"{moment}/{name}"].to("cpu" if moment == "step" else parameter.device)
            for moment in MOMENTS
        }
