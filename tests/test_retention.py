"""Which checkpoints stay, what the ledger says of the others, and whose a results folder is."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from benchmark.executor.devices import devices, engines
from benchmark.jobs.claim import check_claim, claim, drop_claim, record_engine, recorded_engine
from benchmark.jobs.retention import LEDGER, Deleted, Retention, delete, deleted_of, kept, read_ledger
from benchmark.suite import Suite
from tasks.checkpoints import Checkpoint
from tasks.errors import UserError

STEPS = (0, 10, 20, 30, 40)
VALUES = {0: 0.0, 10: 0.2, 20: 0.9, 30: 0.9, 40: 0.1}


@pytest.mark.parametrize(
    ("rule", "validation", "stay"),
    [
        ({"keep_best": 1, "keep_last": 1}, VALUES, {0, 20, 40}),  # of equals the earlier
        ({"keep_best": 2, "keep_last": 1}, VALUES, {0, 20, 30, 40}),
        ({"keep_best": 0, "keep_last": 2}, VALUES, {0, 30, 40}),
        ({"keep_best": 0, "keep_every": 2}, VALUES, {0, 20, 40}),
        ({"keep_best": 0}, VALUES, {0, 40}),
        ({"keep_best": 1}, VALUES | {20: None}, {0, 30, 40}),
        ({"keep_best": 0}, {0: 0.0, 10: 0.2}, {0, 20, 30, 40}),  # what is not scored cannot go
    ],
)
def test_the_rule(rule: dict[str, int], validation: dict[int, float | None], stay: set[int]) -> None:
    assert kept(Retention(**rule), STEPS, validation) == stay


@pytest.mark.parametrize("order", list(permutations(STEPS)))
def test_the_end_does_not_depend_on_when_the_rule_was_applied(order: tuple[int, ...]) -> None:
    """Checkpoints are scored in any order; the rule is applied after each."""
    rule, here = Retention(keep_best=1, keep_last=2, keep_every=3), set(STEPS)
    for count in range(1, len(order) + 1):
        validation = {step: VALUES[step] for step in order[:count]}
        here &= kept(rule, STEPS, validation)
    assert here == kept(rule, STEPS, VALUES)


def line(step: int, **changes: Any) -> Deleted:
    fields = {"step": step, "config_hash": "c", "weights": f"w{step}"}
    fields |= {"tokenizer": "t", "asking": "a", "config": "f", "bytes": 5, "validation": 0.5}
    return Deleted(**fields | changes)


def folder_of(out: Path, step: int) -> Path:
    folder = out / "checkpoints" / f"step_{step:06d}"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("w")
    return folder


def test_the_ledger_is_written_before_the_folder_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, 10)

    def killed(path: Path, *arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            delete(tmp_path, line(10))
    assert folder.is_dir()
    assert read_ledger(tmp_path) == [line(10)]
    delete(tmp_path, line(10))
    assert list(folder.parent.iterdir()) == []


def test_a_deleted_checkpoint_is_known_by_its_hashes(tmp_path: Path) -> None:
    for step in (10, 20):
        folder_of(tmp_path, step)
        delete(tmp_path, line(step))
    for other in (line(10, weights="later"), line(30, config_hash="another")):
        folder_of(tmp_path, other.step)
        delete(tmp_path, other)
    found = deleted_of(tmp_path, "c")
    assert {step: one.weights_hash for step, one in found.items()} == {10: "later", 20: "w20"}
    assert found[20] == Checkpoint(tmp_path / "checkpoints" / "step_000020", "w20", "t", 5, "a", "f")
    assert found[20].folder == tmp_path / "checkpoints" / "step_000020"
    assert deleted_of(tmp_path / "elsewhere", "c") == {}


def test_a_torn_line_was_never_acted_on(tmp_path: Path) -> None:
    folder_of(tmp_path, 10)
    folder_of(tmp_path, 20)
    delete(tmp_path, line(10))
    path = tmp_path / LEDGER
    with path.open("a") as file:
        file.write('{"arm": "gr')
    assert read_ledger(tmp_path) == [line(10)]
    delete(tmp_path, line(20))
    assert read_ledger(tmp_path) == [line(10), line(20)]
    path.write_text('{"arm": "gr\n' + path.read_text())
    with pytest.raises(UserError, match=r"ledger.jsonl:1: not a line of the ledger.*delete the run folder"):
        read_ledger(tmp_path)


def make_suite(**changes: Any) -> Suite:
    fields = {"name": "toy", "summary": "", "recipe": "embedded", "arms": ["grpo"], "baseline": "grpo"}
    return Suite.model_validate(fields | {"seeds": [0], "tasks": ["sums1"]} | changes)


def test_a_folder_may_grow_and_not_change(tmp_path: Path) -> None:
    assert claim(tmp_path, make_suite())
    grown = make_suite(arms=["grpo", "gtpo"], seeds=[0, 3], tasks=["sums1", "add2"], samples=1, retention={})
    assert not claim(tmp_path, grown)
    assert json.loads((tmp_path / "suite.json").read_text())["config"]["seeds"] == [0, 3]
    for change in ({"seeds": [0]}, {"temperature": 0.5}, {"train": {"steps": 3}}, {"dtype": "bfloat16"}):
        with pytest.raises(UserError, match=f"belongs to another configuration .*{next(iter(change))}="):
            check_claim(tmp_path, grown.model_copy(update=change))


def test_a_folder_from_before_a_key_is_the_suite_s_that_leaves_it_out(tmp_path: Path) -> None:
    config = make_suite().model_dump(mode="json")
    for key in ("splits", "top_p", "arm", "retention", "endpoints"):
        del config[key]
    (tmp_path / "suite.json").write_text(json.dumps({"config": config}))
    assert check_claim(tmp_path, make_suite())
    with pytest.raises(UserError, match=r"top_p=None there, 0.5 here"):
        check_claim(tmp_path, make_suite(top_p=0.5))
    del config["recipe"]
    (tmp_path / "suite.json").write_text(json.dumps({"config": config}))
    with pytest.raises(UserError, match=r"recipe=None there, 'embedded' here"):
        check_claim(tmp_path, make_suite())


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    assert not check_claim(tmp_path / "new" / "out", make_suite())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for path, told in (("file", "is a file"), ("file/out", "cannot be made"), ("", "is not empty")):
        with pytest.raises(UserError, match=told):
            check_claim(tmp_path / path, make_suite())


def test_a_claim_is_taken_back_only_when_nothing_was_done(tmp_path: Path) -> None:
    claim(tmp_path, make_suite())
    record_engine(tmp_path, "vllm")
    assert recorded_engine(tmp_path) == "vllm"
    run = tmp_path / "runs/grpo/seed_0/config.json"
    run.parent.mkdir(parents=True)
    run.write_text("")
    drop_claim(tmp_path)
    assert check_claim(tmp_path, make_suite())
    run.unlink()
    drop_claim(tmp_path)
    assert not (tmp_path / "suite.json").exists()
    assert recorded_engine(tmp_path) is None


@pytest.mark.parametrize(
    ("told", "found"), [("0,1", ["0", "1"]), ("GPU-5f", ["GPU-5f"]), ("", []), ("-1", [])]
)
def test_devices_are_those_that_are_visible(
    told: str, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", told)
    assert devices() == found


def test_one_engine_a_device() -> None:
    assert [engines(4, ["0", "1"]), engines(1, ["0", "1"]), engines(4, [])] == [2, 1, 4]
