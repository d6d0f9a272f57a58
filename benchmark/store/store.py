"""Samples by unit: what is held, read from all shards of a folder, in an order that no file decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.store.lines import Sample, dump, parse_lines, read_sample
from benchmark.store.shard import FINAL, PART, Block, Shard, damaged, read_body, read_shard
from benchmark.store.writer import Writer, adopt, writer

if TYPE_CHECKING:
    from benchmark.store.upkeep import Check


@dataclass(frozen=True, kw_only=True)
class Unit:
    """All samples of one request: a checkpoint, a task, a split, a decoding and an engine."""

    key: str
    request: dict[str, Any]
    """What was asked: everything that decides the texts."""
    effective: list[dict[str, Any]]
    """What the engine says it did, one a block, in an order that their content decides; a block that only
    repeats what those before it hold is left out."""
    samples: list[Sample]
    """Each (item, index) once, sorted by both; where its lines differ, the smallest."""
    others: dict[tuple[str, int], list[Sample]]
    """(item, index) -> the other lines, ascending, where there are any: the engine did not repeat itself."""

    @property
    def conflicts(self) -> int:
        """Return of how many samples there are two different texts."""
        return len(self.others)


def open_store(out: Path) -> Store:
    """Return the store of a suite's folder; it need not be there yet."""
    return Store(out)


class Store:
    """The shards of OUT/samples. Other processes may write meanwhile: each call sees what is on the disk."""

    def __init__(self, out: Path) -> None:
        """Look into no file yet."""
        self.out = out
        self.folder = out / "samples"
        self._shards: dict[str, Shard] = {}
        self._blocks: dict[str, list[Block]] = {}

    def keys(self) -> list[str]:
        """Return the units of which there are samples, sorted."""
        self._refresh()
        return sorted(self._blocks)

    def request(self, key: str) -> dict[str, Any]:
        """Return what a unit was asked, from a header.

        Raises:
            KeyError: there is no such unit.
        """
        self._refresh()
        request: dict[str, Any] = self._blocks[key][0].head["request"]
        return request

    def counts(self) -> dict[str, int]:
        """Return how many samples the headers of each unit say, for progress: a sample twice counts twice."""
        self._refresh()
        return {
            key: sum(block.head["count"] for block in blocks) for key, blocks in sorted(self._blocks.items())
        }

    def held(self, key: str) -> set[tuple[str, int]]:
        """Return the (item, index) of every sample of a unit; none is an empty set.

        Raises:
            UserError: a shard is damaged.
        """
        return {(line["item"], line["index"]) for _, lines in self._lines(key) for line in lines}

    def read(self, key: str) -> Unit:
        """Return a unit.

        Raises:
            KeyError: there is no sample of it.
            UserError: a shard is damaged.
        """
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        effective = []
        for block, lines in sorted(self._lines(key), key=_content):
            repeats = True
            for line in lines:
                known = found.setdefault((line["item"], line["index"]), [])
                if line not in known:
                    known.append(line)
                    repeats = False
            if not repeats:
                effective.append(block.head["effective"])
        if not effective:
            raise KeyError(key)
        for known in found.values():
            if len(known) > 1:
                known.sort(key=dump)
        return Unit(
            key=key,
            request=self.request(key),
            effective=effective,
            samples=[read_sample(found[place][0]) for place in sorted(found)],
            others={
                place: [read_sample(line) for line in found[place][1:]]
                for place in sorted(found)
                if len(found[place]) > 1
            },
        )

    def writer(self, worker: str) -> AbstractContextManager[Writer]:
        """Open a shard of one's own, see `benchmark.store.writer.writer`."""
        return writer(self.folder, worker)

    def adopt(self) -> list[str]:
        """Finish what killed workers left, see `benchmark.store.writer.adopt`."""
        return adopt(self.folder)

    def compact(self) -> Path:
        """Export everything to one Parquet file, see `benchmark.store.parquet.compact`."""
        from benchmark.store.parquet import compact

        return compact(self)

    def verify(self) -> Check:
        """Check every byte, see `benchmark.store.upkeep.verify`."""
        from benchmark.store.upkeep import verify

        return verify(self)

    def _lines(self, key: str) -> list[tuple[Block, list[dict[str, Any]]]]:
        while True:
            self._refresh()
            try:
                return list(_parsed(self._blocks.get(key, [])))
            except FileNotFoundError:
                continue  # finished, and so renamed, after it was listed

    def _refresh(self) -> None:
        while True:
            names = self._names()
            try:
                read = {name: self._read(name) for name in names}
            except FileNotFoundError:
                continue
            if names == self._names():  # else a file may have been missed while it took its other name
                break
        if read == self._shards:
            return
        self._shards, self._blocks = read, {}
        for shard in read.values():
            for block in shard.blocks:
                self._blocks.setdefault(block.head["key"], []).append(block)

    def _names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.suffix in (FINAL, PART))

    def _read(self, name: str) -> Shard:
        path, known = self.folder / name, self._shards.get(name)
        if known is not None and path.stat().st_size == known.size:
            return known
        shard = read_shard(path, known)
        shard.check()
        return shard


def _content(piece: tuple[Block, list[dict[str, Any]]]) -> tuple[bytes, str]:
    """Return what orders the blocks of a unit, wherever they lie."""
    head = piece[0].head
    return dump(head["effective"]), head["sha256"]


def _parsed(blocks: list[Block]) -> Iterator[tuple[Block, list[dict[str, Any]]]]:
    for path, of_file in groupby(blocks, attrgetter("path")):
        with path.open("rb") as file:
            for block in of_file:
                body = read_body(file, block)
                if body is None:
                    raise damaged(path, f"the block at byte {block.start} does not fit its checksum")
                yield block, parse_lines(body)
