"""One shard file read from its headers: which blocks it has, where it is damaged, where it was torn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from benchmark.store.lines import FORMAT, sha256, unseal
from tasks.errors import UserError

FINAL, PART = ".jsonl", ".part"


class Block(NamedTuple):
    """Where a block lies, and its header."""

    path: Path
    start: int
    """Of its header line, in bytes."""
    body: int
    """Of its first sample line."""
    head: dict[str, Any]

    @property
    def end(self) -> int:
        """Where the next block begins."""
        return self.body + int(self.head["bytes"])


class Bad(NamedTuple):
    """A stretch of a file that is no block."""

    start: int
    end: int
    what: str


class End(NamedTuple):
    """The line that seals a finished shard."""

    start: int
    end: int
    blocks: int


@dataclass
class Shard:
    """What one file holds."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    sealed: bool = False
    """Whether it ends with its last line."""
    end: int = 0
    """Bytes up to which it is sound."""
    size: int = 0
    """Bytes when it was read; those after `end` are the torn end of an unfinished shard."""
    bad: list[Bad] = field(default_factory=list)

    def check(self) -> None:
        """Refuse a shard with damage that is no torn end.

        Raises:
            UserError: which file, which byte, and how it is repaired.
        """
        for bad in self.bad[:1]:
            raise damaged(self.path, f"what begins at byte {bad.start} {bad.what}")


def damaged(path: Path, what: str) -> UserError:
    """Return the error that stops a reader: file, damage, repair."""
    return UserError(
        f"{path}: damaged, {what}; `python -m benchmark store repair --out {path.parent.parent}` "
        "sets it aside, and `generate` makes what is missing then"
    )


def read_body(file: BinaryIO, block: Block) -> bytes | None:
    """Return the sample lines of a block, or None where they do not fit their checksum."""
    file.seek(block.body)
    data = file.read(block.end - block.body)
    return data if sha256(data) == block.head["sha256"] else None


def pieces(file: BinaryIO, path: Path, at: int, size: int, *, deep: bool) -> Iterator[Block | Bad | End]:
    """Walk over a file from `at`, header by header; after damage go on at the next sound header.

    Args:
        file: open for reading.
        path: its name, for the blocks.
        at: where a header is expected.
        size: bytes to look at; more may be appended meanwhile.
        deep: compare the samples of every block with their checksum too.

    Raises:
        UserError: a sound block is of another version's format.
    """
    while at < size:
        file.seek(at)
        line = file.readline(size - at)
        found = unseal(line)
        what = "is no header"
        if found is not None and found[0] == "end":
            if found[1]["bytes"] == at:
                yield End(at, at + len(line), found[1]["blocks"])
                at += len(line)
                continue
            what = "seals another number of bytes"
        elif found is not None:
            block = Block(path, at, at + len(line), found[1])
            if block.head["format"] != FORMAT:
                raise UserError(
                    f"{path}: has format {block.head['format']}, this version of the project reads {FORMAT}; "
                    "use the version that wrote it, or another --out"
                )
            if block.end > size:
                what = "is cut short"
            elif deep and read_body(file, block) is None:
                what = "does not fit its checksum"
            else:
                yield block
                at = block.end
                continue
        after = _next_header(file, at, size)
        yield Bad(at, after, what)
        at = after


def _next_header(file: BinaryIO, at: int, size: int) -> int:
    """Return where the next sealed line after `at` begins, or the size."""
    file.seek(at)
    data = file.read(size - at)
    place = data.find(b'\n{"')
    while place >= 0:
        end = data.find(b"\n", place + 1)
        if end >= 0 and unseal(data[place + 1 : end + 1]) is not None:
            return at + place + 1
        place = data.find(b'\n{"', place + 1)
    return size


def read_shard(path: Path, known: Shard | None = None, *, deep: bool = False) -> Shard:
    """Read the headers of a shard, or those that were appended since it was `known`.

    Args:
        path: ends in ".part" (unfinished) or ".jsonl" (finished).
        known: an earlier reading of the same unfinished shard.
        deep: check every byte of a finished shard; an unfinished one is always checked, since the last block
            before a power cut may have its length and not its content.

    Raises:
        FileNotFoundError: it is gone; an unfinished shard takes another name when it is finished.
    """
    unfinished = path.suffix == PART
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        shard = Shard(path)
        if known is not None and not known.sealed and known.end <= size:
            shard.blocks, shard.end = list(known.blocks), known.end
        shard.size = size
        found = list(pieces(file, path, shard.end, size, deep=deep or unfinished))
    if unfinished and found and isinstance(found[-1], Bad):
        found.pop()  # the torn end: a block that was never finished
    for piece in found:
        if shard.sealed:
            shard.bad.append(Bad(piece.start, size, "lies behind the last line"))
        elif isinstance(piece, Block):
            shard.blocks.append(piece)
            shard.end = piece.end
        elif isinstance(piece, Bad):
            shard.bad.append(piece)
        elif piece.blocks != len(shard.blocks):
            shard.bad.append(Bad(piece.start, piece.end, f"says {piece.blocks} blocks"))
        else:
            shard.sealed, shard.end = True, piece.end
    if not unfinished and not shard.sealed and not shard.bad:
        shard.bad.append(Bad(size, size, "has no last line"))
    return shard
