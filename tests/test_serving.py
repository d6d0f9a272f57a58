"""One engine for many checkpoints: loads, proofs, restarts; first with an engine that fails on demand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmark.texts import serving as module
from benchmark.texts.serving import Serving, reason
from tasks.checkpoints import Checkpoint, inspect_checkpoint
from tasks.decoding import task_decoding
from tasks.engines import Request, Sampling, WeightMismatch
from tasks.errors import InfrastructureError, UserError
from tests.prompt_goldens import byte_tokenizer

GREEDY = Sampling(temperature=0, max_new_tokens=6)
PROMPTS = [Request(prompt=(5, 6, 7)), Request(prompt=(9, 3))]


class FakeEngine:
    """Holds the name of a folder; `fail` says what goes wrong, and when."""

    name = "fake"

    def __init__(self, folder: Path, fail: dict[str, Exception], log: list[str]) -> None:
        log.append(f"open {folder.name}")
        if "open" in fail:
            raise fail.pop("open")
        self.fail, self.log = fail, log
        self._hold(folder)

    def _hold(self, folder: Path) -> None:
        self.probed = [[-float(len(folder.name)), -1.0]]

    def swap(self, folder: Path) -> None:
        self.log.append(f"swap {folder.name}")
        if "swap" in self.fail:
            raise self.fail.pop("swap")
        self._hold(folder)

    def close(self) -> None:
        self.log.append("close")
        if "close" in self.fail:
            raise self.fail.pop("close")


@pytest.fixture
def checkpoints(tiny: ModuleType, tmp_path: Path) -> list[Checkpoint]:
    names = ("a", "bb", "ccc")
    return [inspect_checkpoint(tiny.build_tiny(tmp_path / name, seed=at)) for at, name in enumerate(names)]


Made = tuple[Serving, dict[str, Exception], list[str]]


@pytest.fixture
def faked(checkpoints: list[Checkpoint], monkeypatch: pytest.MonkeyPatch) -> Made:
    """Return a serving of fake engines on the first checkpoint, what will fail, and what was done."""
    fail: dict[str, Exception] = {}
    log: list[str] = []
    monkeypatch.setattr(module, "room_for", lambda folder, decodings: 64)
    monkeypatch.setattr(module, "open_engine", lambda name, folder, **options: FakeEngine(folder, fail, log))
    return Serving("fake", checkpoints[0].folder, {}, dtype="float32"), fail, log


def test_one_engine_goes_through_all_checkpoints(faked: Made, checkpoints: list[Checkpoint]) -> None:
    serving, _, log = faked
    assert serving.how == "opened"
    serving.load(checkpoints[0])
    assert (serving.how, log) == ("opened", ["open a"])  # it is there already
    for at in (1, 1, 2, 0):
        serving.load(checkpoints[at])
        assert serving.how == "swapped"
    assert log == ["open a", "swap bb", "swap ccc", "swap a"]
    serving.close()
    assert log[-1] == "close"


@pytest.mark.parametrize(
    "error",
    [WeightMismatch("nothing it says may be used\nmore"), RuntimeError("kernel died"), OSError("gone")],
)
def test_a_failed_swap_restarts_the_engine_and_says_why(
    faked: Made, checkpoints: list[Checkpoint], error: Exception
) -> None:
    serving, fail, log = faked
    first = serving.engine
    fail["swap"] = error
    serving.load(checkpoints[1])
    assert serving.how == f"restarted: {type(error).__name__}: {str(error).splitlines()[0]}"
    assert log == ["open a", "swap bb", "close", "open bb"]
    assert serving.engine is not first
    serving.load(checkpoints[2])
    assert serving.how == "swapped"


def test_an_engine_that_cannot_be_closed_is_replaced_too(
    faked: Made, checkpoints: list[Checkpoint], capsys: pytest.CaptureFixture[str]
) -> None:
    serving, fail, _ = faked
    fail |= {"swap": WeightMismatch("stale"), "close": RuntimeError("dead already")}
    serving.load(checkpoints[1])
    assert serving.how == "restarted: WeightMismatch: stale"
    assert "closing it failed (RuntimeError: dead already)" in capsys.readouterr().err


def test_a_second_failure_ends_it(faked: Made, checkpoints: list[Checkpoint]) -> None:
    serving, fail, _ = faked
    fail |= {"swap": WeightMismatch("stale"), "open": RuntimeError("out of memory")}
    with pytest.raises(InfrastructureError, match=r"bb: .*RuntimeError: out of memory.*run the same command"):
        serving.load(checkpoints[1])


def test_a_users_mistake_is_no_reason_to_restart(faked: Made, checkpoints: list[Checkpoint]) -> None:
    serving, fail, log = faked
    fail["swap"] = UserError("another architecture; open a new engine for it")
    with pytest.raises(UserError, match="another architecture"):
        serving.load(checkpoints[1])
    assert log == ["open a", "swap bb"]
    serving.load(checkpoints[0])  # what it holds now is not known: it is loaded again
    assert log[2:] == ["swap a"]


def test_another_tokenizer_is_refused(faked: Made, checkpoints: list[Checkpoint]) -> None:
    serving, _, log = faked
    with pytest.raises(UserError, match="token ids would mean other text"):
        serving.load(replace(checkpoints[1], tokenizer_hash="0" * 64))
    assert log == ["open a"]


def test_weights_that_return_must_say_what_they_said(faked: Made, checkpoints: list[Checkpoint]) -> None:
    serving, _, log = faked
    serving.load(checkpoints[1])
    true_swap = serving.engine.swap

    def drifting(folder: Path) -> None:
        true_swap(folder)
        serving.engine.probed = [[-1.0001, -1.0]]

    serving.engine.swap = drifting  # type: ignore[method-assign]
    serving.load(checkpoints[0])
    assert serving.how == (
        "restarted: WeightMismatch: 0.000100 nats off what the engine said when it held these weights before"
    )
    assert log[-2:] == ["close", "open a"]


def test_an_engine_that_never_starts_is_infrastructure(
    checkpoints: list[Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str, folder: Path, **options: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "room_for", lambda folder, decodings: 64)
    monkeypatch.setattr(module, "open_engine", broken)
    with pytest.raises(InfrastructureError, match=r"cannot be started on it \(MemoryError\)"):
        Serving("fake", checkpoints[0].folder, {}, dtype="float32")


def test_reasons_are_one_line() -> None:
    assert reason(RuntimeError("one\ntwo")) == "RuntimeError: one"
    assert reason(MemoryError()) == "MemoryError"


ENGINES = ["transformers", pytest.param("vllm", marks=pytest.mark.vllm)]


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> list[Checkpoint]:
    """Return three checkpoints that read and write bytes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    root, tokenizer = tmp_path_factory.mktemp("policies"), byte_tokenizer(None, None, "<end>")
    for seed in range(3):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            config = LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=64,
                intermediate_size=96,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                initializer_range=0.2,
                tie_word_embeddings=True,
                eos_token_id=tokenizer.eos_token_id,
            )
            LlamaForCausalLM(config).save_pretrained(root / str(seed))
        tokenizer.save_pretrained(root / str(seed))
    return [inspect_checkpoint(root / str(seed)) for seed in range(3)]


@pytest.fixture(scope="module", params=ENGINES)
def real(request: pytest.FixtureRequest, policies: list[Checkpoint]) -> Iterator[Serving]:
    decodings = {"add2": task_decoding("add2", max_new_tokens=8)}
    serving = Serving(request.param, policies[0].folder, decodings, dtype="float32", max_sequences=16)
    yield serving
    serving.close()


def tokens(engine: Any) -> list[list[tuple[int, ...]]]:
    return [[one.tokens for one in group] for group in engine.generate(PROMPTS, GREEDY)]


def test_there_and_back_with_a_real_engine(real: Serving, policies: list[Checkpoint]) -> None:
    """A -> B -> A: texts and log-probs of A return to the last digit."""
    seen: dict[str, Any] = {}
    for at in (0, 1, 2, 1, 0):
        real.load(policies[at])
        now = real.engine.generate(PROMPTS, GREEDY), real.engine.probed
        assert seen.setdefault(policies[at].weights_hash, now) == now
    assert len({str(value) for value in seen.values()}) == 3
    assert real.how == "swapped"


def test_a_real_engine_with_stale_weights_is_restarted(
    real: Serving, policies: list[Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    real.load(policies[1])
    wanted = tokens(real.engine)
    real.load(policies[0])
    stuck = "_reload" if real.engine.name == "vllm" else "update"
    monkeypatch.setattr(real.engine, stuck, lambda weights: None)
    real.load(policies[1])
    assert real.how.startswith("restarted: WeightMismatch: ")  # and says which tensor
    assert "differs from the file" in real.how
    assert tokens(real.engine) == wanted
