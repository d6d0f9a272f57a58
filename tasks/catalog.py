"""The tasks there are: their definition in tasks.toml, their frozen items in tasks/data/."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from tasks.errors import UserError, closest
from tasks.grading import GRADER_VERSION
from tasks.schema import SPLITS, Problem, Split
from tasks.settings import Settings, build_settings, read_toml

HERE = Path(__file__).parent
DEFINITIONS = HERE / "tasks.toml"
DATA = HERE / "data"
MANIFEST = DATA / "manifest.json"


class SeedRange(Settings):
    """Where a split's items come from."""

    start: int
    """Item i is drawn with seed start + i."""
    size: int
    """Items in the split."""


class Splits(Settings):
    """The three disjoint splits of a task."""

    test: SeedRange
    validation: SeedRange
    train: SeedRange


class Task(Settings):
    """One procedural task."""

    summary: str
    """One line for people."""
    version: int
    """Raised whenever prompt or items change."""
    generator: str
    """Name of the reasoning-gym data set."""
    generator_config: dict[str, Any]
    """Its configuration."""
    question: str
    """Which part of a generated entry is asked: "question" or a key of its metadata."""
    prompt: str
    """Template with {question}, or {compact} for the question without its spaces."""
    chat: bool
    """Whether the prompt goes through the tokenizer's chat template as one user message."""
    max_new_tokens: int
    """Longest completion, end-of-sequence token included."""
    splits: Splits


@cache
def tasks() -> dict[str, Task]:
    """Return every task by name."""
    return {
        name: build_settings(Task, raw, source=f"tasks.toml [{name}]")
        for name, raw in read_toml(DEFINITIONS).items()
    }


def find_task(name: str) -> Task:
    """Return one task; an unknown name is an error that suggests the closest."""
    if name not in tasks():
        raise UserError(f"unknown task {name!r}; {closest(name, tasks())}")
    return tasks()[name]


def task_version(name: str) -> str:
    """Return "definition.grader": two scores compare only when it is equal."""
    return f"{find_task(name).version}.{GRADER_VERSION}"


def items_path(name: str, split: Split) -> Path:
    """Return the JSONL file that holds a split."""
    return DATA / f"{name}_{split}.jsonl"


def load_problems(name: str, split: Split) -> list[Problem]:
    """Read the frozen items of one split, after checking their content against the manifest.

    Raises:
        UserError: unknown task or split, or a file that is missing or not the one that was frozen.
    """
    find_task(name)
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}; {closest(split, SPLITS)}")
    path = items_path(name, split)
    digest = items_digest(name, split)
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise UserError(
            f"{path.name}: its content is not the frozen one ({digest[:12]}); restore it from git"
        )
    with path.open(encoding="utf-8") as file:
        return [Problem(**json.loads(line)) for line in file]


def items_digest(name: str, split: Split) -> str:
    """Return the sha256 of a split's frozen items."""
    path = items_path(name, split)
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8")) if MANIFEST.exists() else {"items": {}}
    if not path.exists() or path.name not in manifest["items"]:
        raise UserError(f"{path.name}: not frozen yet; run `python -m tasks freeze {name}`")
    return str(manifest["items"][path.name])
