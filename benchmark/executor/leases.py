"""Who works on what: one lease per item, alive as long as its counter moves.

OUT/leases/ITEM.lease          linked into place, locked and whole, by the worker that takes the item; its
                               length is the counter
OUT/leases/ITEM.deaths.jsonl   one line for every worker that the item took with it, as far as anybody saw it
OUT/leases/ITEM.quarantined    why nobody takes the item any more

No time of day is looked at and none is written: a lease is dead when one watcher has seen the same counter
for `LEASE_S` seconds of its own monotonic clock. A dead lease is renamed before it is deleted, so of several
who see one death one counts it. Whoever is wrong about a death only does work twice, which changes nothing:
the store holds every sample once.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from tasks.files import append_line, write_json, writing

LEASE_S = 120.0
"""A counter that stands still for so long belongs to a dead worker."""
BEAT_S = 10.0
"""Seconds between two beats."""
MOST_DEATHS = 2
"""Of workers at one item; then it is quarantined."""

Sign = tuple[str, int]
"""(nonce, length): what a watcher compares. File numbers are used again at once on some disks."""


class Lease:
    """An item in hand. The file's length grows while the holder lives; releasing it deletes the file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Hold the open file and begin to beat."""
        self._path = path
        self._descriptor = descriptor
        self._over = Event()
        self._thread = Thread(target=self._beat, name=f"lease {path.stem}", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            with suppress(OSError):  # a full disk: the work itself says so
                os.write(self._descriptor, b".")

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the item back, unless somebody thought this worker dead and took it over."""
        self._over.set()
        self._thread.join()
        with suppress(FileNotFoundError):
            if self._path.stat().st_ino == os.fstat(self._descriptor).st_ino:
                self._path.unlink()
        os.close(self._descriptor)


class Leases:
    """The leases of one results folder, as one process sees them."""

    def __init__(self, out: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Look at OUT/leases with a clock that only ever goes forward."""
        self.folder = out / "leases"
        self._clock = clock
        self._seen: dict[str, tuple[Sign, float]] = {}
        """Item -> what its lease looked like, and since when."""

    def take(self, item: str, worker: str) -> Lease | None:
        """Return the lease of a free item; None where somebody else has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path, nonce = self._lease(item), secrets.token_hex(8)
        made = self._aside(item, nonce)
        with writing(path):
            descriptor = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o644)
            try:
                # held as long as the process lives: on this machine, death shows at once (`release_dead`)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                holder = {"worker": worker, "host": socket.gethostname(), "nonce": nonce}
                os.write(descriptor, json.dumps(holder).encode() + b"\n")
                os.link(made, path)
            except BaseException as error:
                os.close(descriptor)
                # somebody has the item, or has swept our file before it was locked
                if isinstance(error, FileExistsError | FileNotFoundError):
                    return None
                raise
            finally:
                made.unlink(missing_ok=True)
        return Lease(path, descriptor)

    def watch(self, item: str) -> bool:
        """Look at somebody else's lease; one that has not moved for `LEASE_S` is released.

        Returns:
            Whether the item can be taken now.
        """
        sign = self._sign(item)
        if sign is None:
            self._seen.pop(item, None)
            return True
        now = self._clock()
        before, since = self._seen.setdefault(item, (sign, now))
        if before != sign:
            self._seen[item] = (sign, now)
        elif now - since >= LEASE_S:
            del self._seen[item]
            if self._take_away(item, sign[0]):
                self.count_death(item, f"no sign of life from its worker for {LEASE_S:g} s")
            return True
        return False

    def bury(self, worker: str, reason: str) -> list[str]:
        """Count the death of a worker at what it held, and release that; returns the items."""
        held = self.held_by(worker)
        for item in held:
            if self._take_away(item, _holder(self._lease(item)).get("nonce", "")):
                self.count_death(item, reason)
        return held

    def held_by(self, worker: str) -> list[str]:
        """Return the items whose leases name this worker."""
        return [path.stem for path in self.folder.glob("*.lease") if _holder(path).get("worker") == worker]

    def release_dead(self) -> None:
        """Release what processes of this machine held when they were killed, uncounted: nobody saw why."""
        for path in (*self.folder.glob("*.lease"), *self.folder.glob(".*.lease.tmp")):
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a living holder has it
                holder = _holder(path)
                if holder.get("host") not in (None, socket.gethostname()):
                    continue
                if path.suffix == ".tmp":
                    path.unlink()
                else:
                    self._take_away(path.stem, holder.get("nonce", ""))

    def _take_away(self, item: str, nonce: str) -> bool:
        """Delete the lease with this nonce; of several who try, one is told that it was the one."""
        aside = self._aside(item, secrets.token_hex(8))
        try:
            self._lease(item).rename(aside)
        except FileNotFoundError:
            return False
        found = _holder(aside).get("nonce", "") == nonce
        if not found:  # another worker has taken the item meanwhile: it keeps it
            with suppress(FileExistsError, FileNotFoundError):
                os.link(aside, self._lease(item))
        aside.unlink(missing_ok=True)
        return found

    def count_death(self, item: str, reason: str) -> None:
        """Note, on the disk, that a worker died at this item; the second time quarantines it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        append_line(self.folder / f"{item}.deaths.jsonl", json.dumps({"reason": reason}))
        deaths = self.deaths(item)
        if len(deaths) >= MOST_DEATHS:
            write_json(self._quarantine(item), {"reason": reason, "deaths": deaths})

    def deaths(self, item: str) -> list[str]:
        """Return why workers died at this item so far."""
        path = self.folder / f"{item}.deaths.jsonl"
        if not path.exists():
            return []
        reasons = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                reasons.append(str(json.loads(line)["reason"]))
            except (ValueError, TypeError, KeyError):
                reasons.append("a torn line")  # it was a death all the same
        return reasons

    def quarantined(self, item: str) -> str | None:
        """Return why nobody takes an item; None where it may be taken."""
        try:
            return str(json.loads(self._quarantine(item).read_text(encoding="utf-8"))["reason"])
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            return "its note is damaged"

    def forgive(self, item: str) -> None:
        """Forget the deaths: an item that is done, or one that shall be tried again."""
        self._quarantine(item).unlink(missing_ok=True)
        (self.folder / f"{item}.deaths.jsonl").unlink(missing_ok=True)

    def _lease(self, item: str) -> Path:
        return self.folder / f"{item}.lease"

    def _aside(self, item: str, nonce: str) -> Path:
        return self.folder / f".{item}.{nonce}.lease.tmp"

    def _quarantine(self, item: str) -> Path:
        return self.folder / f"{item}.quarantined"

    def _sign(self, item: str) -> Sign | None:
        path = self._lease(item)
        try:
            return _holder(path).get("nonce", ""), path.stat().st_size
        except FileNotFoundError:
            return None


def _holder(path: Path) -> dict[str, str]:
    """Return who holds a lease; nobody where the line was never written."""
    try:
        return dict(json.loads(path.read_bytes().partition(b"\n")[0]))
    except (OSError, ValueError, TypeError):
        return {}
