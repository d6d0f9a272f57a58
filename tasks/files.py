"""Files and folders that are either the old version or the new one, whenever the machine stops.

What is written under a temporary name reaches the disk before it takes its own name, and the folder's entry
reaches the disk before anything that relies on it is written.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import InfrastructureError, UserError

NO_ROOM = {errno.ENOSPC: "no space left", errno.EDQUOT: "quota used up", errno.EFBIG: "file too large"}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk inside the block into one line for a person.

    Raises:
        InfrastructureError: there is no room for `path`; every other error passes as it is.
    """
    try:
        yield
    # safetensors and tokenizers raise types of their own (one a bare Exception), with the error's number
    # in the text alone
    except Exception as error:
        number = _room_number(error)
        if number is None:
            raise
        raise InfrastructureError(
            f"{path}: not written, {NO_ROOM[number]} on its disk; make room and give the same command again, "
            "what was finished is kept"
        ) from error


def disk_is_full(error: BaseException) -> bool:
    """Say whether an error, or what it came from, is a full disk."""
    return _room_number(error) is not None or (error.__cause__ is not None and disk_is_full(error.__cause__))


def _room_number(error: BaseException) -> int | None:
    """Return the number of an error that means that there is no room; None for every other."""
    if isinstance(error, OSError):
        return error.errno if error.errno in NO_ROOM else None
    return next((number for number in NO_ROOM if f"(os error {number})" in str(error)), None)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the file there takes the name when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with writing(path):
            yield temporary
            to_disk(temporary)
            temporary.replace(path)
            to_disk(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its name when the block ends well.

    A folder that is there already gives way: the caller writes the same content again or means to replace it.
    It is moved aside before it is deleted, so under its name there is a whole folder or none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, aside = _temporary(path), _temporary(path, "old")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with writing(path):
            temporary.mkdir()
            yield temporary
            for one in sorted(temporary.rglob("*")):
                to_disk(one)
            to_disk(temporary)
            if path.exists():
                path.replace(aside)
            temporary.replace(path)
            to_disk(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step."""
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step, keys sorted."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def append_line(path: Path, line: str) -> None:
    """Add a line to a log; it is on the disk when this returns. A stop in between leaves a torn last line."""
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def sweep(folder: Path) -> None:
    """Delete what a killed process left under temporary names; call it where nobody else writes."""
    for path in folder.glob(".*.tmp"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Hold the folder's lock; it goes with the process, however that ends."""
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{out}: another run is at work there; wait for it or choose another --out"
            ) from None
        yield


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Hold a lock file, made when missing; who comes second waits. The lock goes with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _temporary(path: Path, mark: str = "") -> Path:
    return path.with_name(f".{path.name}.{mark}{os.getpid()}.tmp")


def to_disk(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
