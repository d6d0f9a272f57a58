"""Every byte of a store checked, and damage set aside so that what it held is generated again."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.store.lines import parse_lines, read_sample
from benchmark.store.shard import FINAL, PART, Block, Shard, read_body, read_shard
from benchmark.store.writer import SUMS, adopt, lock, write_sums, writer
from tasks.catalog import items_digest, load_problems
from tasks.errors import UserError
from tasks.files import new_file, only_one, to_disk
from tasks.schema import Split

if TYPE_CHECKING:
    from benchmark.store.store import Store

ASIDE = "aside"


@dataclass(kw_only=True)
class Check:
    """What `verify` found."""

    shards: int = 0
    """Finished."""
    parts: int = 0
    """Unfinished: of workers at work, or of killed ones."""
    blocks: int = 0
    units: int = 0
    samples: int = 0
    """Each once; 0 where there is damage, like the next."""
    conflicts: int = 0
    """Samples with two different texts."""
    problems: list[str] = field(default_factory=list)
    """One line each: file and damage."""


def verify(store: Store) -> Check:
    """Check every byte of the shards, their names, their samples and SHA256SUMS; change nothing."""
    check = Check()
    for path in _files(store.folder):
        shard = read_shard(path, deep=True)
        check.shards += path.suffix == FINAL
        check.parts += path.suffix == PART
        check.blocks += len(shard.blocks)
        check.problems += [f"{path}: {problem}" for problem in _problems(shard)]
    check.problems += [
        f"{store.folder / name}: is in {SUMS} and not here; `generate` makes its samples again"
        for name in _listed(store.folder)
        if not (store.folder / name).exists()
    ]
    if not check.problems:
        units = [store.read(key) for key in store.counts()]
        check.units = len(units)
        check.samples = sum(len(unit.samples) for unit in units)
        check.conflicts = sum(unit.conflicts for unit in units)
    return check


def repair(out: Path) -> list[str]:
    """Move damaged shards to samples/aside, keep their sound blocks, and finish what killed workers left.

    The old shard goes after a copy of it and a new shard of the sound blocks are there, so a stop in between
    loses nothing.

    Returns:
        One line for people for everything that was done.

    Raises:
        UserError: a run is at work in the folder.
        InfrastructureError: no room on the disk.
    """
    folder = out / "samples"
    lines = []
    with only_one(out):
        for path in _files(folder):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                if lock(descriptor):  # else its worker is at work, and so it is sound up to its end
                    lines += _repaired(path)
            finally:
                os.close(descriptor)
        lines += adopt(folder)
        if folder.is_dir():
            write_sums(folder)
    return lines


def _repaired(path: Path) -> list[str]:
    shard = read_shard(path, deep=True)
    problems = _problems(shard)
    if not problems:
        return []
    aside = path.parent / ASIDE
    with new_file(aside / path.name) as copy:
        shutil.copyfile(path, copy)
    with path.open("rb") as file, writer(path.parent, "repair") as new:
        for block in shard.blocks:
            if _unreadable(block, read_body(file, block)) is None:
                file.seek(block.start)
                new.copy(file.read(block.end - block.start))
    if new.path != path:  # else only its last line was damaged, and the new one has taken its place
        path.unlink()
        to_disk(path.parent)
    return [f"{path}: {'; '.join(problems)}: moved to {aside}, {new.blocks} sound blocks kept"]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{FINAL}")) + sorted(folder.glob(f"*{PART}"))


def _listed(folder: Path) -> list[str]:
    path = folder / SUMS
    if not path.exists():
        return []
    return [line.split("  ", 1)[-1] for line in path.read_text(encoding="utf-8").splitlines()]


def _problems(shard: Shard) -> list[str]:
    found = [f"what begins at byte {bad.start} {bad.what}" for bad in shard.bad]
    with shard.path.open("rb") as file:
        for block in shard.blocks:
            what = _unreadable(block, read_body(file, block))
            if what is not None:
                found.append(f"the block at byte {block.start} {what}")
        file.seek(0)
        if not found and shard.path.suffix == FINAL:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != shard.path.stem:
                found.append("its name is not the sha256 of its bytes")
    return found


def _unreadable(block: Block, body: bytes | None) -> str | None:
    """Return what is wrong with the samples of a block."""
    if body is None:
        return "does not fit its checksum"
    try:
        samples = [read_sample(line) for line in parse_lines(body)]
    except (ValueError, TypeError, KeyError):
        return "has samples of another format"
    if len(samples) != block.head["count"]:
        return "has another number of samples than it says"
    request = block.head["request"]
    items = _items(request.get("task", ""), request.get("split", "test"), request.get("items", ""))
    foreign = sorted({sample.item for sample in samples} - items) if items else []
    return f"has a text for {foreign[0]!r}, which is no item of its split" if foreign else None


@lru_cache(maxsize=64)
def _items(task: str, split: Split, digest: str) -> frozenset[str]:
    """Return the items of a request; none where this machine or this version has others or no such set."""
    try:
        if items_digest(task, split) != digest:
            return frozenset()
        return frozenset(problem.id for problem in load_problems(task, split))
    except UserError:
        return frozenset()
