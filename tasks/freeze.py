"""Make the frozen items of a procedural task from its definition, with disjoint splits."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import Any

from tasks.catalog import DATA, MANIFEST, Task, find_task, items_path
from tasks.errors import UserError
from tasks.schema import Problem, Split

ORDER: tuple[Split, ...] = ("test", "validation", "train")
"""A question found twice stays in the first of these."""


def generate(name: str) -> dict[Split, list[Problem]]:
    """Draw all splits of a task with reasoning-gym; no question stands in two splits or twice in one.

    Raises:
        UserError: seed ranges that overlap, or a generator with too few distinct questions.
    """
    import reasoning_gym  # loads a hundred generators; nothing but freezing and its test needs it

    task = procedural(name)
    ranges = {split: getattr(task.splits, split) for split in ORDER}
    seen: set[str] = set()
    made: dict[Split, list[Problem]] = {}
    for split in ORDER:
        draws = ranges[split].size * 20
        for other in ORDER:
            start = ranges[other].start
            if other != split and ranges[split].start <= start < ranges[split].start + draws:
                raise UserError(
                    f"task {name!r}: the seeds of {split} reach into {other} (start {start}); move it away"
                )
        entries = reasoning_gym.create_dataset(
            task.generator, seed=ranges[split].start, size=draws, **task.generator_config
        )
        made[split] = _distinct(name, split, entries, ranges[split].size, seen)
    return made


def _distinct(name: str, split: Split, entries: Any, size: int, seen: set[str]) -> list[Problem]:
    task = procedural(name)
    problems: list[Problem] = []
    for entry in entries:
        question = entry["question"] if task.question == "question" else entry["metadata"][task.question]
        if question not in seen:
            seen.add(question)
            number = len(problems)
            problems.append(
                Problem(id=f"{name}/{split}/{number:04d}", question=question, gold=str(entry["answer"]))
            )
        if len(problems) == size:
            return problems
    raise UserError(
        f"task {name!r}: {split} has only {len(problems)} distinct new questions, want {size}; lower its size"
    )


def procedural(name: str) -> Task:
    """Return the definition of a task that is made by a generator."""
    task = find_task(name)
    if not isinstance(task, Task):
        raise UserError(
            f"{name!r} is a published set, nothing to generate; run `python -m tasks fetch {name}`"
        )
    return task


def encode(problems: list[Problem]) -> bytes:
    """Return a split as the bytes of its JSONL file."""
    rows = ({"id": item.id, "question": item.question, "gold": item.gold} for item in problems)
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def freeze(name: str) -> dict[str, str]:
    """Write the splits of a task and enter them into the manifest; returns file name -> sha256."""
    made = {items_path(name, split): encode(problems) for split, problems in generate(name).items()}
    digests = {path.name: hashlib.sha256(content).hexdigest() for path, content in made.items()}
    DATA.mkdir(exist_ok=True)
    for path, content in made.items():
        path.write_bytes(content)
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8")) if MANIFEST.exists() else {"items": {}}
    manifest["generator"] = {"reasoning-gym": version("reasoning-gym")}
    manifest["items"] = dict(sorted((manifest["items"] | digests).items()))
    MANIFEST.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return digests
