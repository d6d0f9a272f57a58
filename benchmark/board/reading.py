"""Read a folder that a stranger made: regular files only, bounded in every direction, nothing executed."""

from __future__ import annotations

import hashlib
import json
import lzma
import math
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

MIB = 1 << 20
ENTRY, ROWS, SUMS = "entry.json", "rows.jsonl", "SHA256SUMS"
NAME = re.compile(rf"{ENTRY}|{ROWS}|{SUMS}|samples/[a-z0-9_]{{1,80}}\.jsonl\.xz")
"""Every file that an entry may hold."""
FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that may stand in no name: control, direction and other invisible characters."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large an entry may be; the defaults leave room for a suite of long answers."""

    files: int = 200
    file_bytes: int = 64 * MIB
    total_bytes: int = 256 * MIB
    unpacked_bytes: int = 256 * MIB
    """Of one compressed file."""
    unpacking_memory: int = 128 * MIB
    json_bytes: int = 2 * MIB
    """Of entry.json, or of one line of rows."""
    line_bytes: int = 4 * MIB
    """Of one line of texts, all answers to one item, and of the heads of all units together. Parsed, JSON of
    nothing but brackets takes some fifty times its length."""
    answers: int = 1 << 20
    """Distinct answers in one file of texts; parsed, each takes some 400 bytes beside its text."""
    samples: int = 1 << 23
    """Of one file of texts: units times lines. `check_entry` lowers it to what entry.json counts."""
    json_depth: int = 12
    text_length: int = 4000
    """Characters of one string, texts of samples aside."""
    integer: int = 2**63 - 1


LIMITS = Limits()


class Fault(Exception):
    """One thing that is wrong with an entry: one line."""


def refuse(where: object, problem: str) -> NoReturn:
    """Raise a fault; whatever the entry says is shown escaped."""
    raise Fault(f"{shown(where)}: {problem}")


def shown(value: object) -> str:
    """Return foreign text so that it can do nothing to a terminal or a log: one line, ASCII, cut.

    >>> shown("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    text = str(value).encode("unicode_escape").decode("ascii")
    return text if len(text) <= 200 else text[:200] + "..."


def list_files(folder: Path, limits: Limits = LIMITS) -> dict[str, int]:
    """Return the name and size of every file of an entry, links and device files refused.

    Raises:
        Fault: a file that does not belong there, or too many or too large ones.
    """
    if folder.is_symlink() or not folder.is_dir():
        refuse(folder, "not a folder of its own; an entry is a real folder, not a link")
    found: dict[str, int] = {}
    for name, status in _walk(folder, ""):
        if not stat.S_ISREG(status.st_mode):
            refuse(name, "not a regular file; links, pipes and device files do not belong in an entry")
        if not NAME.fullmatch(name):
            refuse(name, f"does not belong in an entry; it holds {ENTRY}, {ROWS}, samples/ and {SUMS}")
        if status.st_size > limits.file_bytes:
            refuse(name, f"{status.st_size} bytes, at most {limits.file_bytes}")
        found[name] = status.st_size
        if len(found) > limits.files:
            refuse(folder, f"more than {limits.files} files")
        if sum(found.values()) > limits.total_bytes:
            refuse(folder, f"more than {limits.total_bytes} bytes in all")
    for name in (ENTRY, ROWS, SUMS):
        if name not in found:
            refuse(name, "missing")
    return dict(sorted(found.items()))


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False) and name == "samples":
                yield from _walk(folder / entry.name, "samples/")
            else:
                yield name, entry.stat(follow_symlinks=False)


def read_bytes(folder: Path, name: str, limit: int) -> bytes:
    """Read one file of an entry; a link put there since it was listed is not followed."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        refuse(name, f"cannot be read ({error.strerror})")
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            refuse(name, "not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        refuse(name, f"more than {limit} bytes")
    return content


def check_sums(folder: Path, files: dict[str, int], limits: Limits = LIMITS) -> list[str]:
    """Return what does not agree between SHA256SUMS and the files."""
    try:
        text = read_bytes(folder, SUMS, limits.json_bytes).decode("ascii")
    except UnicodeDecodeError:
        return [f"{SUMS}: not plain text"]
    promised: dict[str, str] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})  ([ -~]{1,200})", line)
        if not match or not NAME.fullmatch(match[2]) or match[2] == SUMS:
            return [f"{SUMS}: line {shown(line)!r} names no file of an entry with its sha256"]
        if match[2] in promised:
            return [f"{SUMS}: {match[2]} stands there twice"]
        promised[match[2]] = match[1]
    faults = [f"{name}: in {SUMS}, but there is no such file" for name in promised if name not in files]
    for name in files:
        if name == SUMS:
            continue
        if name not in promised:
            faults.append(f"{name}: not in {SUMS}")
        elif hashlib.sha256(read_bytes(folder, name, limits.file_bytes)).hexdigest() != promised[name]:
            faults.append(f"{name}: its sha256 is not the one in {SUMS}")
    return faults


def parse_json(where: str, content: bytes, limits: Limits = LIMITS, *, free_text: bool = False) -> Any:
    """Parse JSON that a stranger wrote.

    Args:
        where: names the file or line in a fault.
        content: UTF-8.
        limits: on depth, numbers and strings.
        free_text: strings may hold any character and have any length, as a model's answers do.

    Raises:
        Fault: not JSON; a key twice in one object; NaN or infinite; too deep; a number or string out of
            bounds; an invisible character.
    """
    try:
        value = json.loads(
            content.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant, parse_float=_float
        )
    except Fault as fault:
        refuse(where, str(fault))
    except RecursionError:
        refuse(where, f"nested deeper than {limits.json_depth} levels")
    except ValueError as error:  # malformed, not UTF-8, or an integer of thousands of digits
        refuse(where, f"not JSON ({type(error).__name__})")
    _check_value(where, value, limits, free_text)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Fault("a key stands twice in one object")
    return found


def _constant(name: str) -> NoReturn:
    raise Fault(f"{name} is no number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Fault(f"{shown(text)} is no finite number")
    return number


def _check_value(where: str, value: Any, limits: Limits, free_text: bool) -> None:
    waiting = [(value, 1)]
    while waiting:
        one, depth = waiting.pop()
        if depth > limits.json_depth:
            refuse(where, f"nested deeper than {limits.json_depth} levels")
        if isinstance(one, str):
            if not free_text:
                check_text(where, one, limits)
        elif isinstance(one, int) and abs(one) > limits.integer:
            refuse(where, f"an integer beyond {limits.integer}")
        elif isinstance(one, dict):
            for key in one:
                check_text(where, key, limits)
            waiting += [(inner, depth + 1) for inner in one.values()]
        elif isinstance(one, list):
            waiting += [(inner, depth + 1) for inner in one]


def check_text(where: str, text: str, limits: Limits = LIMITS) -> None:
    """Refuse a string that is too long, or that shows itself as something it is not."""
    if len(text) > limits.text_length:
        refuse(where, f"a string of {len(text)} characters, at most {limits.text_length}")
    if text.isascii() and text.isprintable():
        return
    for character in text:
        if unicodedata.category(character) in FORBIDDEN:
            refuse(where, f"U+{ord(character):04X} in {shown(text)!r}; no control or direction characters")


def read_lines(content: bytes, name: str, limits: Limits = LIMITS) -> Iterator[tuple[str, bytes]]:
    """Unpack an xz file line by line, never more of it at once than a line; yields (where, line).

    Raises:
        Fault: not xz, cut off, something after its end, or larger unpacked than allowed.
    """
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=limits.unpacking_memory)
    total, number, rest, piece = 0, 0, b"", content
    while not unpacker.eof:
        try:
            unpacked = unpacker.decompress(piece, MIB)
        except lzma.LZMAError as error:
            refuse(name, f"cannot be unpacked ({error})")
        piece = b""
        if not unpacked and unpacker.needs_input:
            refuse(name, "cut off")
        total += len(unpacked)
        if total > limits.unpacked_bytes:
            refuse(name, f"more than {limits.unpacked_bytes} bytes unpacked")
        *lines, rest = (rest + unpacked).split(b"\n")
        for line in lines:
            number += 1
            yield f"{name}:{number}", line
        if len(rest) > limits.line_bytes:
            refuse(f"{name}:{number + 1}", f"a line of more than {limits.line_bytes} bytes")
    if rest or unpacker.unused_data:
        refuse(name, "does not end with a whole line")
