"""Checkpoints scored as they appear: which ones the rule may have, and what a trainer does meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmark.executor import Failure, WorkItem
from benchmark.executor.answer import work_items
from benchmark.jobs import follow
from benchmark.jobs.follow import Follower, retain
from benchmark.jobs.retention import read_ledger
from benchmark.jobs.runs import distinct_checkpoints, read_runs, sound
from benchmark.scoring import score as scoring
from benchmark.store import open_store
from benchmark.suite import Suite
from benchmark.texts.generate import measurable
from benchmark.texts.units import wanted_unit
from tasks.checkpoints import Checkpoint
from tasks.errors import UserError
from tasks.schema import Grade, Status
from tests.toy import EFFECTIVE, ENGINE, make_suite, texts, write_checkpoint, write_run

STEPS = (0, 2, 4, 6, 8)
RIGHT = {0: 4, 2: 8, 4: 12, 6: 20, 8: 7}
"""Step -> items right; step 6 is the best one."""


class Workers:
    """An executor that answers when it is told to."""

    def __init__(self) -> None:
        self.items: dict[str, WorkItem] = {}
        self.finished: set[str] = set()

    def add(self, items: Sequence[WorkItem]) -> None:
        self.items |= {item.id: item for item in items}

    def close(self) -> None:
        pass

    def step(self) -> bool:
        return False

    def stop(self) -> None:
        pass

    def done(self) -> set[str]:
        return self.finished

    def completions(self) -> int:
        return 0

    def failures(self) -> list[Failure]:
        return []


class Shown:
    """A stage that nobody looks at."""

    def update(self, done: int, total: int | None = None) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "LOOK_S", 0.0)
    monkeypatch.setattr(
        scoring,
        "grade_all",
        lambda asked: [
            Grade(status=Status.CORRECT if one.text.endswith(one.gold) else Status.WRONG, answer=one.text)
            for one in asked
        ],
    )


def suite_of(samples: int = 1) -> Suite:
    rule = {"keep_best": 1, "keep_last": 1}
    return make_suite(arms=["grpo"], seeds=[0], samples=samples, temperature=1.0, retention=rule)


def write_texts(suite: Suite, out: Path, checkpoint: Checkpoint, right: int) -> None:
    with open_store(out).writer("toy") as writer:
        for task, split in measurable(suite):
            request = wanted_unit(suite, checkpoint, task, split, ENGINE).request
            writer.append(request, EFFECTIVE, texts(suite, split, right))


def follower(suite: Suite, out: Path, workers: Workers, *, trained: bool = False) -> Follower:
    return Follower(suite, out, ENGINE, workers, lambda: trained, Shown(), grade=True)  # type: ignore[arg-type]


def steps_there(run: Path) -> list[int]:
    return sorted(int(path.name[-6:]) for path in (run / "checkpoints").iterdir())


@pytest.fixture
def trained_once(tmp_path: Path) -> Path:
    """Return a run whose checkpoints 2 and 4 were scored and let go."""
    run = write_run(tmp_path, "grpo", 0, steps=STEPS)
    for step, right in RIGHT.items():
        write_texts(suite_of(), tmp_path, sound(run / "checkpoints" / f"step_{step:06d}"), right)
    retain(suite_of(), read_runs(suite_of(), tmp_path), tmp_path, ENGINE)
    assert steps_there(run) == [0, 6, 8]
    assert [line.step for line in read_ledger(run)] == [2, 4]
    return run


def test_a_run_trained_again_owes_nothing_to_the_first_training(tmp_path: Path, trained_once: Path) -> None:
    """Its steps have the configuration and the numbers of the old ones, and other weights."""
    shutil.rmtree(trained_once)
    run, workers = write_run(tmp_path, "grpo", 0, steps=(0,)), Workers()
    watching = follower(suite_of(), tmp_path, workers)
    watching.step()
    for step in (2, 4, 6):
        write_checkpoint(run / "checkpoints" / f"step_{step:06d}", 1000 + step)
        watching.step()
    assert [item.checkpoint.folder.name[-1] for item in workers.items.values()] == ["2", "4", "6"]
    assert steps_there(run) == [0, 2, 4, 6]
    assert read_ledger(run) == []


def test_the_remedy_for_more_samples_works_while_following(tmp_path: Path, trained_once: Path) -> None:
    more = suite_of(samples=2)
    with pytest.raises(UserError, match=r"scored and deleted .* delete the run folder"):
        follower(more, tmp_path, Workers()).step()  # before anything is trained on
    checkpoints = distinct_checkpoints(read_runs(more, tmp_path))
    with pytest.raises(UserError, match=r"scored and deleted .* delete the run folder"):
        work_items(more, checkpoints, open_store(tmp_path), ENGINE)
    shutil.rmtree(trained_once)
    write_run(tmp_path, "grpo", 0, steps=(0,))
    workers = Workers()
    follower(more, tmp_path, workers).step()
    assert len(workers.items) == 1


def test_a_checkpoint_written_again_is_another_one(tmp_path: Path) -> None:
    """Same step, other weights: what is known of the old ones counts for nothing."""
    run, workers = write_run(tmp_path, "grpo", 0, steps=STEPS), Workers()
    for step, right in RIGHT.items():
        write_texts(suite_of(), tmp_path, sound(run / "checkpoints" / f"step_{step:06d}"), right)
    watching = follower(suite_of(), tmp_path, workers)
    folder = run / "checkpoints/step_000006"
    watching.step()
    assert steps_there(run) == [0, 6, 8]
    for step, number in ((6, 1006), (8, 1008), (10, 1010)):
        shutil.rmtree(run / "checkpoints" / f"step_{step:06d}", ignore_errors=True)
        write_checkpoint(run / "checkpoints" / f"step_{step:06d}", number)
    watching.step()
    assert steps_there(run) == [0, 6, 8, 10]
    assert sound(folder).id in workers.items


def test_a_trainer_keeps_what_it_resumes_from(tmp_path: Path) -> None:
    """The state is written after its checkpoint: until then it names the one before."""
    run = write_run(tmp_path, "grpo", 0, steps=(0, 2, 4))
    for step in (0, 2, 4):
        folder = run / "checkpoints" / f"step_{step:06d}"
        write_texts(suite_of(), tmp_path, sound(folder), 20 - step)
    follower(suite_of(), tmp_path, Workers()).step()
    assert steps_there(run) == [0, 2, 4]
    follower(suite_of(), tmp_path, Workers(), trained=True).step()
    assert steps_there(run) == [0, 4]


def test_a_checkpoint_that_is_replaced_meanwhile_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed trainer moves its newest checkpoint aside and puts the same one there again."""
    run, workers = write_run(tmp_path, "grpo", 0, steps=(0, 2)), Workers()
    newest = run / "checkpoints/step_000002"

    def torn(folder: Path) -> Checkpoint:
        if folder != newest:
            return sound(folder)
        monkeypatch.setattr(follow, "sound", sound)
        newest.rename(run / "aside")
        write_checkpoint(newest, 2)
        raise UserError("no such file")

    monkeypatch.setattr(follow, "sound", torn)
    watching = follower(suite_of(), tmp_path, workers)
    watching.step()
    assert len(workers.items) == 1
    watching.step()
    assert len(workers.items) == 2
    (newest / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="step_000002"):
        follower(suite_of(), tmp_path, workers).step()


def test_what_a_kill_left_of_a_deleted_checkpoint_goes(tmp_path: Path) -> None:
    run = write_run(tmp_path, "grpo", 0, steps=(0, 2))
    (run / "checkpoints/.step_000002.deleted.tmp").mkdir()
    suite = make_suite(arms=["grpo"], seeds=[0])
    retain(suite, read_runs(suite, tmp_path), tmp_path, ENGINE)
    assert steps_there(run) == [0, 2]
