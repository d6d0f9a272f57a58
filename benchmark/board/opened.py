"""Open an entry without its texts: are its files whole, and do its declarations hold together?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark.board.asked import decoding_faults
from benchmark.board.declared import declaration_faults, read_entry_rows
from benchmark.board.entry import Entry, read_entry
from benchmark.board.reading import (
    LIMITS,
    ROWS,
    SUMS,
    Fault,
    Limits,
    check_sums,
    list_files,
    read_bytes,
    shown,
)
from benchmark.board.schedule import schedule_faults
from benchmark.rows import ResultRow
from tasks.errors import InfrastructureError


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An entry whose files are whole and whose declarations hold together; its texts have not been opened."""

    folder: Path
    entry: Entry
    rows: list[ResultRow]
    files: dict[str, int]

    @property
    def digest(self) -> str:
        """sha256 of SHA256SUMS: names the content of the whole entry."""
        return hashlib.sha256((self.folder / SUMS).read_bytes()).hexdigest()


@contextmanager
def guarded(name: str = "") -> Iterator[None]:
    """Make a fault of whatever an entry's content makes the code trip over; `name` goes before it.

    Faults keep their message; that the machine failed (`InfrastructureError`) is not the entry's.
    """
    try:
        yield
    except (Fault, InfrastructureError):
        raise
    except Exception as error:  # a stranger's content: whatever it is, it is one entry's fault
        where = f"{shown(name)}: " if name else ""
        raise Fault(f"{where}cannot be checked, {type(error).__name__}: {shown(error)}") from error


def open_entry(folder: Path, limits: Limits = LIMITS) -> Opened:
    """Read an entry without its texts.

    Raises:
        Fault: it is not whole or does not hold together; a message may have several lines, one a fault.
    """
    files = list_files(folder, limits)
    faults = check_sums(folder, files, limits)
    if faults:
        raise Fault("\n".join(faults))
    entry = read_entry(folder, limits)
    rows = read_entry_rows(read_bytes(folder, ROWS, limits.file_bytes), limits)
    opened = Opened(folder=folder, entry=entry, rows=rows, files=files)
    faults = declaration_faults(entry, rows, files)
    faults = faults or [*decoding_faults(entry, rows), *schedule_faults(entry, rows)]
    if faults:
        raise Fault("\n".join(faults))
    return opened
