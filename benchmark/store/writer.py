"""The only code that writes shards: a worker's own file, block by block, and its last rename."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmark.store.lines import Sample, block_bytes, seal
from benchmark.store.shard import FINAL, PART, read_shard
from tasks.files import to_disk, write_text, writing

SUMS = "SHA256SUMS"
LOCK = ".lock"
WORKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Writer:
    """An open shard; `writer` makes it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Take over a new, empty file that this process has locked."""
        self.path = path
        self.blocks = 0
        self._descriptor = descriptor
        self._bytes = 0
        self._digest = hashlib.sha256()

    def append(self, request: dict[str, Any], effective: dict[str, Any], samples: list[Sample]) -> None:
        """Add a block; it is on the disk when this returns.

        Args:
            request: everything that decides the texts (`benchmark.texts.generate.sample_request`).
            effective: what the engine says it did.
            samples: of this request, at least one.

        Raises:
            ValueError: no samples.
            InfrastructureError: no room; the shard ends with the block before.
        """
        if not samples:
            raise ValueError("a block of no samples")
        self.copy(block_bytes(request, effective, samples))

    def copy(self, data: bytes) -> None:
        """Add a block as it lies in another shard.

        Raises:
            InfrastructureError: no room.
        """
        self._write(data)
        self._digest.update(data)
        self._bytes += len(data)
        self.blocks += 1

    def finish(self) -> None:
        """Seal the shard and give it the name of its content; a shard of no blocks is deleted."""
        if not self.blocks:
            self.path.unlink()
            return
        last = seal("end", {"blocks": self.blocks, "bytes": self._bytes})
        self._write(last)
        self._digest.update(last)
        self.path = _rename(self.path, self._digest.hexdigest())

    def _write(self, data: bytes) -> None:
        with writing(self.path):
            try:
                write_all(self._descriptor, data)
                os.fsync(self._descriptor)
            except OSError:
                with suppress(OSError):  # what was written of it is a torn end otherwise, which readers know
                    os.ftruncate(self._descriptor, self._bytes)
                    os.lseek(self._descriptor, self._bytes, os.SEEK_SET)
                raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write to an open file, however many calls that takes."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


@contextmanager
def writer(folder: Path, worker: str) -> Iterator[Writer]:
    """Open a shard; it is finished when the block ends well, and left to `adopt` when it does not.

    Args:
        folder: OUT/samples.
        worker: letters, digits, "_", "." and "-"; several of one name do not disturb each other.

    Raises:
        ValueError: another name.
        InfrastructureError: no room on the disk.
    """
    if not WORKER.fullmatch(worker):
        raise ValueError(f"worker {worker!r}: want letters, digits, '_', '.' and '-'")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path, descriptor = _new_part(folder, worker)
    try:
        to_disk(folder)
        shard = Writer(path, descriptor)
        yield shard
        shard.finish()
    finally:
        os.close(descriptor)  # and the lock goes with it


def _new_part(folder: Path, worker: str) -> tuple[Path, int]:
    """Return a new file with our lock on it, that nobody took away between the two."""
    while True:
        path = folder / f"{worker}-{secrets.token_hex(4)}{PART}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            continue
        if lock(descriptor) and path.exists():
            return path, descriptor
        os.close(descriptor)


def lock(descriptor: int) -> bool:
    """Take a worker's lock on its shard, or say that it is taken; it goes with the process."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def adopt(folder: Path) -> list[str]:
    """Finish the shards of workers that are no more; a worker at work holds a lock on its own.

    Returns:
        One line for people for every torn end that was cut off.

    Raises:
        UserError: a shard has damage that is no torn end; it stays as it is.
        InfrastructureError: no room on the disk.
    """
    lines = []
    for path in sorted(folder.glob(f"*{PART}")):
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue  # its worker, or somebody like us, has just finished it
        try:
            if lock(descriptor) and path.exists():
                lines += _finish_leftover(path, descriptor)
        finally:
            os.close(descriptor)
    if folder.is_dir() and _read_sums(folder) != _sums(folder):  # a worker was killed between name and list
        write_sums(folder)
    return lines


def _finish_leftover(path: Path, descriptor: int) -> list[str]:
    shard = read_shard(path)
    shard.check()
    torn = shard.size - shard.end
    lines = [f"{path.name}: {torn} bytes of a block that was never finished are cut off"] if torn else []
    if not shard.blocks:
        path.unlink()
        return lines
    with writing(path):
        os.ftruncate(descriptor, shard.end)
        if not shard.sealed:
            os.lseek(descriptor, shard.end, os.SEEK_SET)
            write_all(descriptor, seal("end", {"blocks": len(shard.blocks), "bytes": shard.end}))
        os.fsync(descriptor)
    with path.open("rb") as file:
        _rename(path, hashlib.file_digest(file, "sha256").hexdigest())
    return lines


def _rename(path: Path, digest: str) -> Path:
    final = path.with_name(digest + FINAL)
    with writing(path):
        path.replace(final)
        to_disk(path.parent)
    write_sums(path.parent)
    return final


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS of the finished shards; each name says the sum.

    Of two at once the later one lists after the earlier one has written, so no shard is left out.
    """
    with writing(folder / SUMS), (folder / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        write_text(folder / SUMS, _sums(folder))


def _sums(folder: Path) -> str:
    return "".join(f"{path.stem}  {path.name}\n" for path in sorted(folder.glob(f"*{FINAL}")))


def _read_sums(folder: Path) -> str:
    path = folder / SUMS
    return path.read_text(encoding="utf-8") if path.exists() else ""
