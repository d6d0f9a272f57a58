"""The sample store: what was generated comes back as it was, whoever wrote it, in whatever order."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmark.store import Sample, open_store, sample_key
from tasks.engines import Finish
from tests.stored import write_samples

ROOT = Path(__file__).parent.parent
REQUEST = {"weights": "beef", "task": "add2", "split": "test", "engine": "transformers", "temperature": 0.5}
KEY = sample_key(REQUEST)
EFFECTIVE = {"engine": "transformers", "seconds": 0.25}
TEXTS = ["12", "", 'line\nbreak\u2028\r and "quotes"', "λ 😀 \x00", '{"head":{}}']


def sample(at: int, text: str = "12", **changes: Any) -> Sample:
    made = Sample(
        item=f"add2/test/{at // 2:04d}",
        index=at % 2,
        text=text,
        tokens=at,
        finish=(Finish.STOP, Finish.LENGTH)[at % 2],
        seed=2**62 + at,
        prompt_hash="ab" * 32,
    )
    return replace(made, **changes)


SAMPLES = [sample(at, text) for at, text in enumerate(TEXTS)]


def test_round_trip(tmp_path: Path) -> None:
    path = write_samples(tmp_path, REQUEST, EFFECTIVE, SAMPLES[::-1])
    unit = open_store(tmp_path).read(KEY)
    assert (unit.key, unit.request, unit.effective, unit.conflicts) == (KEY, REQUEST, [EFFECTIVE], 0)
    assert unit.samples == SAMPLES  # sorted by item and index
    assert all(type(one.finish) is Finish for one in unit.samples)
    assert open_store(tmp_path).held(KEY) == {(one.item, one.index) for one in SAMPLES}
    assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_file_is_as_the_documentation_says(tmp_path: Path) -> None:
    """Read without our reader."""
    head, *lines, last = write_samples(tmp_path, REQUEST, EFFECTIVE, SAMPLES).read_bytes().splitlines(True)
    body = b"".join(lines)
    header = json.loads(head)
    assert header["head"] == {
        "format": 1,
        "key": KEY,
        "request": REQUEST,
        "effective": EFFECTIVE,
        "count": len(SAMPLES),
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    text = head.removeprefix(b'{"head":')[: -len(',"sha256":"') - 64 - len('"}\n')]
    assert header["sha256"] == hashlib.sha256(text).hexdigest()
    assert [json.loads(line) for line in lines] == [
        vars(one) | {"finish": one.finish.value} for one in SAMPLES
    ]
    assert json.loads(last)["end"] == {"blocks": 1, "bytes": len(head) + len(body)}


def test_nothing_is_an_empty_store(tmp_path: Path) -> None:
    store = open_store(tmp_path / "none")
    assert (store.keys(), store.counts(), store.held(KEY)) == ([], {}, set())
    assert not (tmp_path / "none").exists()  # reading writes nothing
    with pytest.raises(KeyError):
        store.read(KEY)
    with store.writer("idle"):
        pass
    assert [path.name for path in store.folder.iterdir()] == []


def test_a_block_of_nothing_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path).writer("w") as writer, pytest.raises(ValueError, match="no samples"):
        writer.append(REQUEST, EFFECTIVE, [])


@pytest.mark.parametrize("name", ["", "../w", "a b", ".w"])
def test_the_name_of_a_worker_is_a_plain_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="want letters, digits"), open_store(tmp_path).writer(name):
        pass


def test_units_are_kept_apart_and_blocks_joined(tmp_path: Path) -> None:
    other = REQUEST | {"task": "add3"}
    with open_store(tmp_path).writer("w") as writer:
        writer.append(REQUEST, EFFECTIVE, SAMPLES[:2])
        writer.append(other, EFFECTIVE, SAMPLES)
        writer.append(REQUEST, EFFECTIVE | {"seconds": 0.125}, SAMPLES[2:])
    store = open_store(tmp_path)
    assert store.keys() == sorted([KEY, sample_key(other)])
    assert store.counts() == {KEY: len(TEXTS), sample_key(other): len(TEXTS)}
    unit = store.read(KEY)
    assert unit.samples == SAMPLES
    assert [one["seconds"] for one in unit.effective] == [0.125, 0.25]


def test_an_open_shard_is_read_block_by_block(tmp_path: Path) -> None:
    reader = open_store(tmp_path)
    with open_store(tmp_path).writer("w") as writer:
        for number in range(len(SAMPLES)):
            writer.append(REQUEST, EFFECTIVE, [SAMPLES[number]])
            assert reader.read(KEY).samples == SAMPLES[: number + 1]
            assert reader.counts() == {KEY: number + 1}
    assert reader.read(KEY).samples == SAMPLES  # under its new name


def test_the_same_sample_twice_is_one(tmp_path: Path) -> None:
    write_samples(tmp_path, REQUEST, EFFECTIVE, SAMPLES)
    write_samples(tmp_path, REQUEST, EFFECTIVE | {"seconds": 9.0}, SAMPLES)
    unit = open_store(tmp_path).read(KEY)
    assert (unit.samples, unit.conflicts) == (SAMPLES, 0)
    assert unit.effective == [EFFECTIVE]  # the time of a second worker made none of these texts


def test_the_same_work_to_the_last_byte_is_one_file(tmp_path: Path) -> None:
    for _ in range(2):
        with open_store(tmp_path).writer("w") as writer:
            writer.append(REQUEST, EFFECTIVE, SAMPLES)
    assert len(list((tmp_path / "samples").glob("*.jsonl"))) == 1


def test_of_two_texts_the_same_one_stands_whatever_the_order(tmp_path: Path) -> None:
    """Neither file names, nor who was first, nor how the blocks are cut decide."""
    ours = [sample(at, text) for at, text in enumerate("adgjm")]
    theirs = [sample(at, text) for at, text in enumerate("zcgia")]
    found = []
    for number, parts in enumerate(
        ([ours, theirs], [theirs, ours], [theirs[2:], ours, theirs[:2]], [[*ours[:3], *theirs], ours])
    ):
        out = tmp_path / str(number)
        for part in parts:
            write_samples(out, REQUEST, EFFECTIVE, part)
        found.append(open_store(out).read(KEY))
    assert [unit.samples for unit in found] == [found[0].samples] * 4
    assert [one.text for one in found[0].samples] == ["a", "c", "g", "i", "a"]
    assert [unit.conflicts for unit in found] == [4] * 4
    others = {place: [one.text for one in texts] for place, texts in found[0].others.items()}
    assert others == {(one.item, one.index): [one_text] for one, one_text in zip(
        (found[0].samples[at] for at in (0, 1, 3, 4)), "zdjm", strict=True
    )}  # fmt: skip
    assert [unit.others for unit in found] == [found[0].others] * 4


def test_everything_but_the_shards_may_be_deleted(tmp_path: Path) -> None:
    write_samples(tmp_path, REQUEST, EFFECTIVE, SAMPLES)
    store = open_store(tmp_path)
    store.compact()
    before = store.read(KEY)
    for path in store.folder.iterdir():
        if path.suffix != ".jsonl":
            path.unlink()
    assert open_store(tmp_path).read(KEY) == before
    assert open_store(tmp_path).verify().problems == []


def test_sums_are_those_of_the_files(tmp_path: Path) -> None:
    for at in range(3):
        write_samples(tmp_path, REQUEST, EFFECTIVE, [sample(at)])
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=tmp_path / "samples",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.count(": OK\n")) == (0, 3)


def test_parquet_holds_what_the_shards_hold(tmp_path: Path) -> None:
    other = REQUEST | {"task": "add3"}
    write_samples(tmp_path, REQUEST, EFFECTIVE, SAMPLES)
    write_samples(tmp_path, other, EFFECTIVE, SAMPLES[:2])
    store = open_store(tmp_path)
    path = store.compact()
    table = pq.read_table(path)
    for key, request in ((KEY, REQUEST), (sample_key(other), other)):
        rows = [row for row in table.to_pylist() if row.pop("key") == key]
        assert [Sample(**row | {"finish": Finish(row["finish"])}) for row in rows] == store.read(key).samples
        units = json.loads(pq.read_metadata(path).metadata[b"units"])
        assert units[key] == {"request": request, "effective": [EFFECTIVE]}
    raw = path.read_bytes()
    assert store.compact().read_bytes() == raw


def test_a_check_counts(tmp_path: Path) -> None:
    write_samples(tmp_path, REQUEST, EFFECTIVE, SAMPLES)
    write_samples(tmp_path, REQUEST, EFFECTIVE, [sample(0, "13")])
    with open_store(tmp_path).writer("w") as writer:
        writer.append(REQUEST | {"task": "add3"}, EFFECTIVE, SAMPLES)
        found = open_store(tmp_path).verify()
    assert found.problems == []
    counted = (found.shards, found.parts, found.blocks, found.units, found.samples, found.conflicts)
    assert counted == (2, 1, 3, 2, 2 * len(SAMPLES), 1)


def command(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", "store", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command(tmp_path: Path) -> None:
    path = write_samples(tmp_path, REQUEST, EFFECTIVE, SAMPLES)
    out = ("--out", str(tmp_path))
    code, said = command("list", *out)
    assert code == 0
    assert said.splitlines()[-1].split() == [KEY, "add2", "test", "beef", "transformers", str(len(SAMPLES))]
    code, said = command("verify", *out)
    assert (code, said.startswith(f"sound: {len(SAMPLES)} samples of 1 units in 1 finished")) == (0, True)
    assert command("compact", *out) == (0, f"{tmp_path / 'samples/samples.parquet'}\n")
    assert command("repair", *out) == (0, "nothing to repair\n")
    path.write_bytes(path.read_bytes()[:-1])
    code, said = command("verify", *out)
    assert code == 2
    assert f"`python -m benchmark store repair --out {tmp_path}` sets them aside" in said
    code, said = command("repair", *out)
    assert (code, "1 sound blocks kept" in said) == (0, True)
    assert command("verify", *out)[0] == 0
    assert command("list")[0] == 2
    assert "no such folder" in command("list", "embedded", "--out", str(tmp_path / "none"))[1]
