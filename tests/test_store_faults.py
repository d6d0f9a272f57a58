"""What happens to a store: torn ends, flipped bytes, full disks, killed and simultaneous workers."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from benchmark.store import open_store
from benchmark.store.upkeep import repair
from tasks.errors import InfrastructureError, UserError
from tests.stored import write_samples
from tests.test_store import EFFECTIVE, KEY, REQUEST, SAMPLES, sample

ROOT = Path(__file__).parent.parent
BLOCKS = [SAMPLES[:2], SAMPLES[2:3], SAMPLES[3:]]


class Stopped(Exception):
    """Stands for whatever ends a worker before its shard is finished."""


def append_and_stop(out: Path) -> None:
    with open_store(out).writer("dead") as writer:
        for block in BLOCKS:
            writer.append(REQUEST, EFFECTIVE, block)
        raise Stopped


def leftover(out: Path) -> Path:
    """Write three blocks and leave the shard as a killed worker does."""
    with pytest.raises(Stopped):
        append_and_stop(out)
    (path,) = (out / "samples").glob("*.part")
    return path


def finished(out: Path) -> Path:
    with open_store(out).writer("w") as writer:
        for block in BLOCKS:
            writer.append(REQUEST, EFFECTIVE, block)
    (path,) = (out / "samples").glob("*.jsonl")
    return path


def starts(raw: bytes) -> list[int]:
    """Where the blocks, and the last line if there is one, begin."""
    return [found.start() for found in re.finditer(rb'^\{"(?:head|end)"', raw, re.MULTILINE)]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names open files through /proc")
def test_a_block_reaches_the_disk_before_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        fsync(descriptor)
        calls.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).suffix or 'folder'}")

    def record_replace(source: Path, target: Path) -> None:
        replace(source, target)
        calls.append(f"name {Path(target).suffix}")

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    with open_store(tmp_path).writer("w") as writer:
        assert calls == ["fsync folder"]  # else a power cut could take the file with all its blocks
        for block in BLOCKS:
            calls.clear()
            writer.append(REQUEST, EFFECTIVE, block)
            assert calls == ["fsync .part"]
        calls.clear()
    assert calls[:3] == ["fsync .part", "name .jsonl", "fsync folder"]


def test_a_torn_end_is_as_if_it_was_never_written(tmp_path: Path) -> None:
    """At every byte of the last block; half of them finished by somebody else, half only read."""
    part = leftover(tmp_path / "out")
    raw = part.read_bytes()
    last = starts(raw)[-1]
    for size in range(last, len(raw)):
        part.write_bytes(raw[:size])
        assert open_store(tmp_path / "out").read(KEY).samples == SAMPLES[:3], size
    for size in [*range(last, len(raw), 9), last + 1, len(raw) - 1]:
        out = tmp_path / str(size)
        (out / "samples").mkdir(parents=True)
        (out / "samples" / part.name).write_bytes(raw[:size])
        lines = open_store(out).adopt()
        torn = f"{part.name}: {size - last} bytes of a block that was never finished are cut off"
        assert lines == ([torn] if size > last else [])
        assert open_store(out).read(KEY).samples == SAMPLES[:3]
        assert open_store(out).verify().problems == []
        assert not list((out / "samples").glob("*.part"))


def test_a_shard_torn_in_its_first_block_is_nothing(tmp_path: Path) -> None:
    part = leftover(tmp_path)
    part.write_bytes(part.read_bytes()[:99])
    assert open_store(tmp_path).keys() == []
    assert open_store(tmp_path).adopt() == [
        f"{part.name}: 99 bytes of a block that was never finished are cut off"
    ]
    assert list((tmp_path / "samples").iterdir()) == []


def test_garbage_of_the_right_length_after_a_power_cut_is_a_torn_end(tmp_path: Path) -> None:
    part = leftover(tmp_path)
    raw = part.read_bytes()
    part.write_bytes(raw[:-50] + bytes(50))
    assert open_store(tmp_path).read(KEY).samples == SAMPLES[:3]


def test_a_leftover_is_finished_as_its_worker_would_have(tmp_path: Path) -> None:
    leftover(tmp_path / "left")
    assert open_store(tmp_path / "left").adopt() == []
    (path,) = (tmp_path / "left/samples").glob("*.jsonl")
    assert path.read_bytes() == finished(tmp_path / "straight").read_bytes()
    assert path.name == finished(tmp_path / "again").name


def test_a_flipped_byte_anywhere_stops_with_file_damage_and_repair(tmp_path: Path) -> None:
    path = finished(tmp_path)
    raw = path.read_bytes()
    rng = random.Random(0)
    heads = [at for start in starts(raw) for at in range(start, start + 12)]
    newlines = [at for at, byte in enumerate(raw) if byte == 10]
    for at in sorted({*range(0, len(raw), 3), *heads, *newlines}):
        broken = bytearray(raw)
        broken[at] ^= 1 << rng.randrange(8)
        path.write_bytes(broken)
        with pytest.raises(UserError) as caught:
            open_store(tmp_path).read(KEY)
        said = str(caught.value)
        assert said.startswith(f"{path}: damaged, "), at
        assert said.endswith(
            f"`python -m benchmark store repair --out {tmp_path}` sets it aside, "
            "and `generate` makes what is missing then"
        )
        assert "\n" not in said
        assert open_store(tmp_path).verify().problems, at


def test_a_finished_shard_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = finished(tmp_path)
    raw = path.read_bytes()
    for size in sorted({*range(0, len(raw), 3), *starts(raw), *(edge - 1 for edge in starts(raw)[1:])}):
        path.write_bytes(raw[:size])
        with pytest.raises(UserError, match=f"{path.name}: damaged, "):
            open_store(tmp_path).held(KEY)


def test_repair_keeps_every_sound_block(tmp_path: Path) -> None:
    raw = finished(tmp_path / "whole").read_bytes()
    edges = [*starts(raw), len(raw)]
    for at in range(5, len(raw), 97):
        out = tmp_path / str(at)
        path = finished(out)
        broken = bytearray(raw)
        broken[at] ^= 4
        path.write_bytes(broken)
        (line,) = repair(out)
        hit = sum(edge <= at for edge in edges) - 1  # which block; 3 is the last line
        kept = [one for number, block in enumerate(BLOCKS) if number != hit for one in block]
        assert open_store(out).read(KEY).samples == kept
        assert f"{3 - (hit < 3)} sound blocks kept" in line
        assert open_store(out).verify().problems == []
        assert (out / "samples/aside" / path.name).read_bytes() == broken
        assert repair(out) == []


@pytest.mark.parametrize(
    "harm",
    [
        lambda raw, edge: raw[: edge[1]] + raw[edge[2] :],  # a block is gone
        lambda raw, edge: raw[: edge[1]] + raw[edge[2] : edge[3]] + raw[edge[1] : edge[2]] + raw[edge[3] :],
        lambda raw, edge: raw[: edge[2]] + raw[edge[1] :],  # a block is there twice
        lambda raw, edge: raw[: edge[1]] + raw[: edge[1]] + raw[edge[2] :],  # and in place of another
        lambda raw, edge: raw[: edge[3]],  # the last line is gone
        lambda raw, edge: raw + raw[edge[3] :],
        lambda raw, edge: raw + b"\n",
        lambda raw, edge: b"\n" + raw,
        lambda raw, edge: raw.replace(b'"text":"12"', b'"text":"120"', 1),
        lambda raw, edge: b"",
        lambda raw, edge: b"\xff\xfe\n",
        lambda raw, edge: b"[]\n3\n",
        lambda raw, edge: raw.replace(b"\n", b"\r\n"),
    ],
)
def test_other_damage_is_found_and_repaired(
    tmp_path: Path, harm: Callable[[bytes, list[int]], bytes]
) -> None:
    path = finished(tmp_path)
    raw = path.read_bytes()
    path.write_bytes(harm(raw, starts(raw)))
    with suppress(UserError):  # only blocks in another order are read as before
        assert open_store(tmp_path).read(KEY).samples == SAMPLES
    assert open_store(tmp_path).verify().problems
    repair(tmp_path)
    assert open_store(tmp_path).verify().problems == []
    assert set(open_store(tmp_path).held(KEY)) <= {(one.item, one.index) for one in SAMPLES}


def test_a_renamed_shard_is_found(tmp_path: Path) -> None:
    path = finished(tmp_path)
    path.rename(path.with_name("0" * 64 + ".jsonl"))
    problems = open_store(tmp_path).verify().problems
    assert any("its name is not the sha256 of its bytes" in line for line in problems)
    assert any(f"{path.name}: is in SHA256SUMS and not here" in line for line in problems)
    repair(tmp_path)
    assert open_store(tmp_path).verify().problems == []
    assert open_store(tmp_path).read(KEY).samples == SAMPLES
    assert path.exists()


def test_a_file_of_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.store.lines.FORMAT", 2)
        finished(tmp_path)
    [path] = (tmp_path / "samples").glob("*.jsonl")
    written = path.read_bytes()
    store = open_store(tmp_path)
    for act in (store.keys, store.verify, lambda: repair(tmp_path)):
        with pytest.raises(UserError, match="has format 2, this version of the project reads 1; use"):
            act()
    assert path.read_bytes() == written  # repair has set nothing aside


def test_damage_before_the_end_of_a_leftover_is_no_torn_end(tmp_path: Path) -> None:
    part = leftover(tmp_path)
    raw = part.read_bytes()
    for at in range(0, starts(raw)[-1], 31):
        broken = bytearray(raw)
        broken[at] ^= 1
        part.write_bytes(broken)
        with pytest.raises(UserError, match=f"{part.name}: damaged"):
            open_store(tmp_path).keys()
        with pytest.raises(UserError, match=f"{part.name}: damaged"):
            open_store(tmp_path).adopt()
        assert part.read_bytes() == broken
    repair(tmp_path)
    assert open_store(tmp_path).verify().problems == []
    assert open_store(tmp_path).read(KEY).samples[-2:] == BLOCKS[2]


def test_nobody_touches_the_shard_of_a_worker_at_work(tmp_path: Path) -> None:
    with open_store(tmp_path).writer("live") as writer:
        writer.append(REQUEST, EFFECTIVE, SAMPLES[:2])
        code = (
            "import sys; from pathlib import Path; from benchmark.store import open_store\n"
            "from benchmark.store.upkeep import repair\n"
            "out = Path(sys.argv[1]); print(open_store(out).adopt(), repair(out), sys.argv[2])"
        )
        words = [sys.executable, "-c", code, str(tmp_path), "done"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout == "[] [] done\n"
        assert writer.path.exists()
        writer.append(REQUEST, EFFECTIVE, SAMPLES[2:])
        sound = writer.path.read_bytes()
        writer.path.write_bytes(b"!" + sound[1:])  # damage is repaired when the worker is gone
        done = subprocess.run(
            [*words[:2], code.replace("open_store(out).adopt()", "1"), *words[3:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "1 [] done\n"
        writer.path.write_bytes(sound)
    assert open_store(tmp_path).read(KEY).samples == SAMPLES


def test_a_file_that_takes_its_other_name_while_the_folder_is_listed_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing may hold neither name of a file that is renamed meanwhile; the next one holds it."""
    finished(tmp_path)
    store = open_store(tmp_path)
    real, listings = store._names, iter([[]])
    monkeypatch.setattr(store, "_names", lambda: next(listings, real()))
    assert store.read(KEY).samples == SAMPLES


WRITE = """
import sys
from pathlib import Path
from benchmark.store import open_store
from tests.test_store import EFFECTIVE, REQUEST, sample

store, worker = open_store(Path(sys.argv[1])), int(sys.argv[2])
for shard in range(4):
    with store.writer("same-name") as writer:
        for block in range(5):
            at = 20 * worker + 5 * shard + block
            writer.append(REQUEST, EFFECTIVE, [sample(at), sample(1000)])
            store.adopt()
"""


def test_workers_write_adopt_and_read_at_once(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path), str(number)], cwd=ROOT)
        for number in range(3)
    ]
    seen, store = 0, open_store(tmp_path)
    while any(worker.poll() is None for worker in workers):
        held = len(store.held(KEY))
        assert held >= seen  # what was there stays there, whatever its file is called now
        seen = held
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert store.read(KEY).samples == [*(sample(at) for at in range(60)), sample(1000)]
    assert not list(store.folder.glob("*.part"))
    listed = (store.folder / "SHA256SUMS").read_text()
    assert listed == "".join(f"{path.stem}  {path.name}\n" for path in sorted(store.folder.glob("*.jsonl")))
    assert store.verify().shards == 12


def test_killed_before_any_file_call_nothing_that_was_safe_is_lost(tmp_path: Path) -> None:
    script = ROOT / "tests/store_killing.py"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script, tmp_path], env=environment, capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    calls = {what: sum(line["what"] == what for line in lines) for what in ("write", "adopt", "repair")}
    assert calls["write"] > 15
    assert calls["adopt"] > 8
    assert calls["repair"] > 20
    assert all(line["problems"] == [] for line in lines)
    assert all(".part" not in line["names"] for line in lines)
    assert all(line["unlisted"] == 0 for line in lines)
    for line in lines:
        if line["what"] == "write":
            assert line["safe"] <= line["held"] <= line["safe"] + 1
        else:
            assert line["held"] == {"adopt": 1, "repair": 2}[line["what"]]


def test_a_file_that_may_not_grow_keeps_its_blocks_and_goes_on(tmp_path: Path) -> None:
    """The limit strikes in the middle of a block, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_store(tmp_path).writer("w") as writer:
        writer.append(REQUEST, EFFECTIVE, BLOCKS[0])
        size = writer.path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200, before[1]))
        try:
            with pytest.raises(InfrastructureError, match=r"w-.*not written, file too large on its disk"):
                writer.append(REQUEST, EFFECTIVE, BLOCKS[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert writer.path.stat().st_size == size
        writer.append(REQUEST, EFFECTIVE, BLOCKS[2])
    assert open_store(tmp_path).read(KEY).samples == [*BLOCKS[0], *BLOCKS[2]]
    assert open_store(tmp_path).verify().problems == []


def test_a_full_disk_that_gives_nothing_back_leaves_a_torn_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        write(descriptor, data[: len(data) // 2])
        return int(full() or 0)

    def fill() -> None:
        with open_store(tmp_path).writer("w") as writer:
            writer.append(REQUEST, EFFECTIVE, BLOCKS[0])
            monkeypatch.setattr(os, "write", half)
            monkeypatch.setattr(os, "ftruncate", full)
            writer.append(REQUEST, EFFECTIVE, BLOCKS[1])

    with pytest.raises(InfrastructureError, match="no space left"):
        fill()
    monkeypatch.undo()
    assert open_store(tmp_path).read(KEY).samples == BLOCKS[0]
    assert len(open_store(tmp_path).adopt()) == 1
    assert open_store(tmp_path).read(KEY).samples == BLOCKS[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk, straight = tmp_path / "disk", tmp_path / "straight"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not allow a mount")
    many = [sample(at, "long " * 300) for at in range(80)]
    write_samples(straight, REQUEST, EFFECTIVE, many)

    def fill() -> None:
        with open_store(disk).writer("w") as writer:
            for start in range(0, 80, 8):
                writer.append(REQUEST, EFFECTIVE, many[start : start + 8])

    try:
        with pytest.raises(InfrastructureError, match="no space left on its disk; make room and give"):
            fill()
        safe = len(open_store(disk).held(KEY))
        assert 0 < safe < 80
        assert open_store(disk).read(KEY).samples == many[:safe]
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        store = open_store(disk)
        assert store.adopt() == []
        left = [one for one in many if (one.item, one.index) not in store.held(KEY)]
        write_samples(disk, REQUEST, EFFECTIVE, left)
        assert store.read(KEY).samples == open_store(straight).read(KEY).samples
        assert store.verify().problems == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
