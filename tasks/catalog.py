"""The tasks there are: their definition in tasks.toml, their frozen items in tasks/data/."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from tasks.definitions import Dataset, Task, Traversal
from tasks.errors import MissingSet, UserError, closest
from tasks.families import expand
from tasks.grading import GRADER_VERSION
from tasks.schema import SPLITS, Problem, Split
from tasks.settings import build_settings, read_toml

HERE = Path(__file__).parent
DEFINITIONS = HERE / "tasks.toml"
PUBLISHED = HERE / "datasets.toml"
WALKS = HERE / "traversal.toml"
GROUPS = HERE / "groups.toml"
DATA = HERE / "data"
MANIFEST = DATA / "manifest.json"


@cache
def tasks() -> dict[str, Task]:
    """Return every procedural task by name."""
    return {
        name: build_settings(Task, raw, source=f"tasks.toml [{name}]")
        for name, raw in expand(read_toml(DEFINITIONS)).items()
    }


@cache
def walks() -> dict[str, Traversal]:
    """Return every tree-traversal task by name."""
    return {
        name: build_settings(Traversal, raw, source=f"traversal.toml [{name}]")
        for name, raw in expand(read_toml(WALKS)).items()
    }


@cache
def datasets() -> dict[str, Dataset]:
    """Return every published set by name; the table `defaults` holds what most of them share."""
    raw = read_toml(PUBLISHED)
    shared = raw.pop("defaults", {})
    return {
        name: build_settings(Dataset, shared | one, source=f"datasets.toml [{name}]")
        for name, one in raw.items()
    }


@cache
def groups() -> dict[str, list[str]]:
    """Return every group of tasks by name: those of groups.toml, `procedural`, and one for each family."""
    found: dict[str, list[str]] = {**read_toml(GROUPS), "procedural": []}
    levels: dict[str, Task | Traversal] = {**tasks(), **walks()}
    for name, task in levels.items():
        if task.family:
            found.setdefault(task.family, []).append(name)
        if task.family and isinstance(task, Task):
            found["procedural"].append(name)
    return found


def expand_tasks(names: Iterable[str]) -> list[str]:
    """Replace groups by their tasks; a task that comes twice stays where it came first.

    Raises:
        UserError: neither a task nor a group has that name; the closest is suggested.

    >>> expand_tasks(["aime25", "paper"])
    ['aime25', 'aime24', 'math500', 'amc23', 'minerva_math', 'olympiadbench']
    >>> expand_tasks(["lcm"])
    ['lcm_easy', 'lcm_medium', 'lcm_hard']
    """
    known = [*tasks(), *datasets(), *walks()]
    found: dict[str, None] = {}
    for name in names:
        if name in groups():
            found |= dict.fromkeys(groups()[name])
        elif name in known:
            found[name] = None
        else:
            raise UserError(f"unknown task or group {name!r}; {closest(name, [*known, *groups()])}")
    return list(found)


def find_task(name: str) -> Task | Dataset | Traversal:
    """Return one task; an unknown name is an error that suggests the closest."""
    known: dict[str, Task | Dataset | Traversal] = {**tasks(), **datasets(), **walks()}
    if name in groups():
        raise UserError(f"{name!r} is a group, want one task: {', '.join(groups()[name])}")
    if name not in known:
        raise UserError(f"unknown task {name!r}; {closest(name, known)}")
    return known[name]


def splits_of(name: str) -> tuple[Split, ...]:
    """Return the splits that a task has: all three, `test` alone, or `train` and `validation`."""
    return find_task(name).split_names


def task_names() -> list[str]:
    """Return the name of every task: procedural, published, tree traversals."""
    return [*tasks(), *datasets(), *walks()]


def missing_sets(names: Iterable[str]) -> dict[str, str]:
    """Return those tasks whose items are not on this machine, each with the reason and the remedy."""
    missing = {}
    for name in names:
        try:
            items_digest(name, splits_of(name)[-1])
        except MissingSet as reason:
            missing[name] = str(reason)
    return missing


def is_test_set(name: str) -> bool:
    """Say whether a task is one of ours that has a test split and no other, such as a published benchmark."""
    return name in task_names() and splits_of(name) == ("test",)


def scored_split(name: str) -> Split:
    """Return the split a task is scored on where nobody says which: `test`, else `validation`."""
    return "test" if "test" in splits_of(name) else "validation"


def task_version(name: str) -> str:
    """Return "definition.grader": two scores compare only when it is equal."""
    return f"{find_task(name).version}.{GRADER_VERSION}"


def items_path(name: str, split: Split) -> Path:
    """Return the JSONL file that holds a split."""
    return DATA / f"{name}_{split}.jsonl"


def is_stream(name: str, split: Split) -> bool:
    """Say whether a split is made on first use instead of shipped."""
    task = find_task(name)
    return isinstance(task, Task) and bool(getattr(task.splits, split).stream)


def load_problems(name: str, split: Split) -> list[Problem]:
    """Read the items of one split, after checking that they are those that were frozen or fetched.

    Raises:
        MissingSet: a published set that is not on this machine.
        UserError: unknown task or split, or a file that is missing or has another content.
    """
    task = find_task(name)
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}; {closest(split, SPLITS)}")
    if isinstance(task, Dataset):
        from tasks.datasets import read_split  # it reads this module's tables

        return read_split(name, split)
    digest = items_digest(name, split)
    if isinstance(task, Traversal):
        return [Problem(id=f"{name}/{split}/0000", question="", gold=task.target)]
    if getattr(task.splits, split).stream:
        from tasks.streams import stream_path

        path = stream_path(name)
    else:
        path = items_path(name, split)
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise UserError(
                f"{path.name}: its content is not the frozen one ({digest[:12]}); restore it from git"
            )
    with path.open(encoding="utf-8") as file:
        return [Problem(**json.loads(line)) for line in file]


def items_digest(name: str, split: Split) -> str:
    """Return the sha256 of a split's items, frozen or fetched.

    Raises:
        MissingSet: a published set that is not on this machine.
        UserError: items that were never frozen or whose definition was changed since, or damaged ones.
    """
    task = find_task(name)
    if isinstance(task, Dataset):
        from tasks.datasets import split_digest

        return split_digest(name, split)
    if isinstance(task, Traversal):
        return hashlib.sha256(task.target.encode()).hexdigest()
    path = items_path(name, split)
    manifest = read_manifest()
    stream = getattr(task.splits, split).stream
    digests = manifest["streams" if stream else "items"]
    if path.name not in digests or not (stream or path.exists()):
        raise UserError(f"{path.name}: not frozen yet; run `python -m tasks freeze {name}`")
    if manifest["definitions"].get(name) != task.items_definition():
        raise UserError(
            f"task {name!r}: its definition in tasks.toml is not the one its items were made from; "
            f"take the change back, or run `python -m tasks freeze {name}` and raise its version"
        )
    return str(digests[path.name])


def read_manifest() -> dict[str, Any]:
    """Return what is known of the frozen items; empty tables where nothing is."""
    known = json.loads(MANIFEST.read_text(encoding="utf-8")) if MANIFEST.exists() else {}
    return {"items": {}, "streams": {}, "definitions": {}, **known}
