"""Kill writers, adopters and repairers of a sample store right before each of their file calls.

    python tests/store_killing.py FOLDER

Each line of the output is a JSON object: what was killed before which call, how many blocks the killed writer
knew to be safe, and how many the store holds after somebody cleaned up.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from benchmark.store import Sample, open_store, sample_key
from benchmark.store.upkeep import repair
from tasks.engines import Finish

CALLS = ("write", "fsync", "ftruncate", "replace", "rename", "unlink", "mkdir")
REQUEST = {"task": "add2"}
BLOCKS = 3


def sample(at: int) -> Sample:
    return Sample(
        item=f"add2/test/{at}", index=0, text="4", tokens=2, finish=Finish.STOP, seed=at, prompt_hash=""
    )


def write_blocks(out: Path) -> None:
    with open_store(out).writer("w") as writer:
        for at in range(BLOCKS):
            writer.append(REQUEST, {"block": at}, [sample(at)])
            (out / "safe").write_text(str(at + 1))


def ended(work: Callable[[], object], before_call: Callable[[int], None]) -> int:
    """Run in a child; returns its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        number = count(1)
        for name in CALLS:
            real = getattr(os, name)

            def patched(*args: Any, _real: Callable[..., Any] = real, **kwargs: Any) -> Any:
                before_call(next(number))
                return _real(*args, **kwargs)

            setattr(os, name, patched)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at(at: int) -> Callable[[int], None]:
    return lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == at else None


def tell(what: str, at: int, out: Path, **facts: object) -> None:
    store = open_store(out)
    found = store.verify()
    held = store.held(sample_key(REQUEST))
    names = sorted(path.suffix for path in store.folder.glob("*") if not path.name.startswith("."))
    sums = store.folder / "SHA256SUMS"
    listed = len(sums.read_text().splitlines()) if sums.exists() else 0
    line = {
        "what": what,
        "at": at,
        "held": len(held),
        "problems": found.problems,
        "names": names,
        "unlisted": names.count(".jsonl") - listed,
        **facts,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def torn(out: Path) -> None:
    """Leave what a killed worker leaves: two blocks and half of the third."""
    assert ended(lambda: write_blocks(out), killed_at(6)) == -signal.SIGKILL
    (part,) = (out / "samples").glob("*.part")
    part.write_bytes(part.read_bytes()[:-20])


def damaged(out: Path) -> None:
    write_blocks(out)
    (path,) = (out / "samples").glob("*.jsonl")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def main() -> None:
    folder = Path(sys.argv[1])
    cases: dict[str, tuple[Callable[[Path], object], Callable[[Path], object], Callable[[Path], object]]] = {
        "write": (lambda out: None, write_blocks, lambda out: open_store(out).adopt()),
        "adopt": (torn, lambda out: open_store(out).adopt(), lambda out: open_store(out).adopt()),
        "repair": (damaged, repair, repair),
    }
    for what, (prepare, work, clean) in cases.items():
        for at in count(1):
            out = folder / f"{what}{at}"
            out.mkdir()
            prepare(out)
            code = ended(lambda out=out, work=work: work(out), killed_at(at))  # type: ignore[misc]
            safe = int((out / "safe").read_text()) if (out / "safe").exists() else 0
            clean(out)
            tell(what, at, out, code=code, safe=safe)
            shutil.rmtree(out)
            if code == 0:
                break


if __name__ == "__main__":
    main()
