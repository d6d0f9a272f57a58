"""Policies and tasks of the measurements, and our path as one call."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from benchmark.suite import Suite
from tasks.errors import UserError
from tasks.folders import cache_folder

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, kw_only=True)
class Case:
    """A policy and what it is asked, greedily."""

    summary: str
    tasks: tuple[str, ...]
    new_tokens: int
    length: int
    """Prompt and completion together, for lm_eval's command; ours finds it out."""
    goal: float


RACES: dict[str, Case] = {
    "embedded": Case(
        summary="embedded policy, add2 and add3, 512 items each", tasks=("add2", "add3"), new_tokens=16,
        length=100, goal=5,
    ),
    "smollm2": Case(
        summary="SmolLM2-135M-Instruct, sums1 and add2, test splits", tasks=("sums1", "add2"), new_tokens=16,
        length=512, goal=1.5,
    ),
}  # fmt: skip


def policy_of(case: str, smollm2: Path | None) -> Path:
    """Return the folder of a case's policy.

    Raises:
        UserError: SmolLM2 is not there yet.
    """
    if case == "embedded":
        return ROOT / "trainer" / "policies" / "embedded"
    folder = smollm2 or cache_folder() / "SmolLM2-135M-Instruct-from-Q4_1"
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no SmolLM2 there; any run of the recipe smollm2 makes it, or give --smollm2 FOLDER"
        )
    return folder


def perturbed(policy: Path, out: Path, count: int) -> list[Path]:
    """Write checkpoints that differ from a policy by one part in a thousand, as those of a run do."""
    weights = load_file(policy / "model.safetensors")
    folders = []
    for number in range(count):
        folder = out / f"step_{number:06d}"
        folder.mkdir()
        for file in policy.iterdir():
            if file.is_file() and file.name != "model.safetensors":
                shutil.copy(file, folder)
        generator = torch.Generator().manual_seed(number)
        moved = {
            name: tensor + 1e-3 * tensor.std() * torch.randn(tensor.shape, generator=generator).to(tensor)
            for name, tensor in weights.items()
        }
        save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
        folders.append(folder)
    return folders


def suite_of(tasks: Sequence[str], new_tokens: int, *, temperature: float) -> Suite:
    """Return a suite that asks these tasks once per item."""
    return Suite.model_validate(
        {
            "name": "perf",
            "summary": "",
            "kind": "smoke",
            "recipe": "embedded",
            "arms": ["grpo"],
            "baseline": "grpo",
            "seeds": [0],
            "tasks": list(tasks),
            "samples": 1,
            "temperature": temperature,
            "max_new_tokens": new_tokens,
            "engine": "vllm",
        }
    )
