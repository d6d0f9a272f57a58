"""Mirrors of the metrics: complete, without a step twice, and without a say in any number."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tasks.errors import Interrupted, UserError
from trainer.config import TrainConfig
from trainer.loop import train
from trainer.runlog import read_metrics, read_timings

Make = Callable[..., TrainConfig]
pytestmark = pytest.mark.usefixtures("odd_is_right")


def quiet(line: str) -> None:
    del line


def stop(line: str) -> None:
    if line.startswith("step 0003"):
        raise Interrupted("SIGTERM")


def stop_and_go_on(config: TrainConfig, out: Path, name: str) -> None:
    """Log steps 1 to 3, then go on from the checkpoint of step 2, so that step 3 comes twice."""
    with pytest.raises(Interrupted):
        train(config, out, report=stop, track=[name])
    train(config, out, report=quiet, track=[name])


class FakeRun:
    """What `wandb.init` returns, as far as it is used; it refuses to go back, as the real one ignores it."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a fake package in the place of wandb; `asked` holds what `init` was called with."""
    fake: Any = ModuleType("wandb")
    fake.__spec__ = ModuleSpec("wandb", None)
    fake.run, fake.asked = FakeRun(), []

    def init(**asked: Any) -> FakeRun:
        fake.asked.append(asked)
        return fake.run

    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return fake


def test_tensorboard_holds_every_step_once(make_config: Make, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    stop_and_go_on(make_config(), out, "tensorboard")
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    metrics, timings = read_metrics(out), read_timings(out)
    names = {*metrics[0], *timings[0]} - {"step", "tokens"}
    assert set(events.Tags()["scalars"]) == names
    assert "config/text_summary" in events.Tags()["tensors"]
    for name in ("reward/mean", "gradient_norm", "check/rollout_logprob_gap", "time/step_s"):
        found = [(one.step, one.value) for one in events.Scalars(name)]
        record = timings if name.startswith("time/") else metrics
        # TensorBoard keeps float32
        assert found == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in record]


def test_wandb_gets_every_step_once_and_stays_offline(make_config: Make, tmp_path: Path, wandb: Any) -> None:
    out = tmp_path / "run"
    stop_and_go_on(make_config(), out, "wandb")
    assert [step for step, _ in wandb.run.logged] == [1, 2, 3, 4]
    for (_, values), metrics in zip(wandb.run.logged, read_metrics(out), strict=True):
        assert values["loss"] == metrics["loss"]
        assert values["time/step_s"] > 0
    first, second = wandb.asked
    assert (first["mode"], first["resume"], first["dir"]) == ("offline", "allow", str(out))
    assert first["config"] == make_config().model_dump(mode="json")
    assert first["id"] == second["id"]
    assert wandb.run.finished == 2
    train(make_config(steps=2), tmp_path / "other", report=quiet, track=["wandb"])
    assert wandb.asked[2]["id"] != first["id"]


def test_wandb_goes_online_where_the_user_says_so(
    make_config: Make, tmp_path: Path, wandb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    train(make_config(steps=2), tmp_path / "run", report=quiet, track=["wandb"])
    assert wandb.asked[0]["mode"] == "online"


@pytest.mark.usefixtures("wandb")
def test_a_mirror_changes_no_number(make_config: Make, tmp_path: Path) -> None:
    train(make_config(), tmp_path / "plain", report=quiet)
    train(make_config(), tmp_path / "mirrored", report=quiet, track=["wandb", "wandb"])
    for name in ("metrics.jsonl", "config.json"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "mirrored" / name).read_bytes()


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_mirror_that_is_not_installed_names_its_extra(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError) as caught:
        train(make_config(), tmp_path / "run", report=quiet, track=[name])
    assert str(caught.value) == f"tracker '{name}': not installed; run `pip install -e .[{name}]`"
    assert not (tmp_path / "run").exists()


def test_an_unknown_mirror_is_named(make_config: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tracker 'tensorbord': .*; did you mean 'tensorboard'?"):
        train(make_config(), tmp_path / "run", report=quiet, track=["tensorbord"])
