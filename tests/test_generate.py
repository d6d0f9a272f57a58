"""Which texts are wanted, which are there, and what is generated: only what is missing, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from benchmark.executor.answer import work_items
from benchmark.store import Unit, open_store, sample_key
from benchmark.suite import Suite, load_suite
from benchmark.texts import generate
from benchmark.texts.generate import Generated, generate_unit, sample_request, wanted_samples
from tasks.checkpoints import Checkpoint
from tasks.engines import Completion, Finish, Request, Sampling
from tasks.errors import InfrastructureError
from tasks.harness import glue
from tasks.seeds import derive_seed
from tests.test_harness import EOS, DictEngine

REQUEST = {"weights": "beef", "task": "add2", "temperature": 0.5}


def test_the_key_follows_the_content_and_not_the_order() -> None:
    assert sample_key(dict(reversed(REQUEST.items()))) == sample_key(REQUEST)
    changed = [REQUEST | {key: "other"} for key in REQUEST] + [REQUEST | {"more": 1}]
    assert len({sample_key(request) for request in [REQUEST, *changed]}) == len(REQUEST) + 2


def checkpoint(weights: str = "aa", tokenizer: str = "bb") -> Checkpoint:
    return Checkpoint(Path("folder"), weights, tokenizer, 1)


def test_every_thing_that_decides_a_text_changes_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = load_suite("embedded", ["temperature=0.5"])
    plain = sample_request(suite, checkpoint(), "add2", "test", "transformers")
    requests = [
        plain,
        sample_request(suite, checkpoint(weights="cc"), "add2", "test", "transformers"),
        sample_request(suite, checkpoint(tokenizer="cc"), "add2", "test", "transformers"),
        sample_request(suite, replace(checkpoint(), asking_hash="cc"), "add2", "test", "transformers"),
        sample_request(suite, replace(checkpoint(), config_hash="cc"), "add2", "test", "transformers"),
        sample_request(suite, checkpoint(), "add3", "test", "transformers"),
        sample_request(suite, checkpoint(), "add2", "validation", "transformers"),
        sample_request(suite, checkpoint(), "add2", "test", "vllm"),
        *(
            sample_request(
                load_suite("embedded", ["temperature=0.5", change]),
                checkpoint(),
                "add2",
                "test",
                "transformers",
            )
            for change in ("temperature=0.6", "top_p=0.9", "max_new_tokens=9", "dtype=bfloat16")
        ),
    ]
    task = generate.find_task("add2")
    for change in ({"prompt": "{question}="}, {"chat": True}, {"system": "Think."}):
        other = {"add2": task.model_copy(update=change)}
        with monkeypatch.context() as patch:
            patch.setattr(generate, "find_task", other.get)
            requests.append(sample_request(suite, checkpoint(), "add2", "test", "transformers"))
    with monkeypatch.context() as patch:
        patch.setattr(generate, "items_digest", lambda *_: "other items")
        requests.append(sample_request(suite, checkpoint(), "add2", "test", "transformers"))
    with monkeypatch.context() as patch:
        patch.setattr(generate, "engine_version", lambda _: "another version")
        requests.append(sample_request(suite, checkpoint(), "add2", "test", "transformers"))
    assert len({sample_key(request) for request in requests}) == len(requests)
    assert len(requests) == len(plain) + 1  # one change per key: a new key of the request needs a case here


def test_what_does_not_decide_a_text_does_not_change_its_key() -> None:
    """Arms, seeds and the grader may change, and the texts stay."""
    one = load_suite("embedded")
    two = load_suite("embedded", ["seeds=[7]", "arms=['grpo']", "max_sequences=3", "kind=smoke"])
    assert sample_request(one, checkpoint(), "add2", "test", "transformers") == sample_request(
        two, Checkpoint(Path("elsewhere"), "aa", "bb", 99), "add2", "test", "transformers"
    )


def test_the_number_of_samples_is_no_part_of_the_key() -> None:
    two, eight = (load_suite("embedded", ["temperature=0.5", f"samples={count}"]) for count in (2, 8))
    assert sample_request(two, checkpoint(), "add2", "test", "vllm") == sample_request(
        eight, checkpoint(), "add2", "test", "vllm"
    )


class SeedEngine(DictEngine):
    """Says its seed, so an answer depends on item and index alone; stops where it is told to."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, device: str = "cpu", calls: int = 99) -> None:
        super().__init__(tokenizer, {})
        self.device, self.calls = device, calls

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = True
    ) -> list[list[Completion]]:
        del logprobs
        self.sampling.append(sampling)
        if len(self.sampling) > self.calls:
            raise InfrastructureError("the engine died")
        self.asked += requests
        said = [self.tokenizer.encode(str(one.seeds[0] % 1000), add_special_tokens=False) for one in requests]
        return [
            [Completion(tokens=(*ids, EOS), logprobs=(0.0,) * (len(ids) + 1), finish=Finish.STOP)]
            for ids in said
        ]

    def describe(self) -> dict[str, str]:
        return {"engine": self.name, "device": self.device}


@dataclass
class Served:
    """What `generate_unit` needs of `benchmark.texts.serving.Serving`."""

    engine: SeedEngine
    how: str = "swapped"

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.engine.tokenizer


def make_suite(samples: int = 2, **changes: Any) -> Suite:
    words = [f"{key}={value}" for key, value in {"samples": samples, "max_sequences": 64, **changes}.items()]
    return load_suite("embedded", ["temperature=0.5", *words])


def fill(out: Path, suite: Suite, engine: SeedEngine, task: str = "add2") -> Generated:
    store = open_store(out)
    store.adopt()
    key = sample_key(sample_request(suite, checkpoint(), task, "test", "transformers"))
    with store.writer("w") as writer:
        return generate_unit(
            suite,
            checkpoint(),
            task,
            "test",
            Served(engine),  # type: ignore[arg-type]
            writer,
            store.held(key),
        )


def unit(out: Path) -> Unit:
    (key,) = open_store(out).keys()
    return open_store(out).read(key)


@pytest.fixture(scope="module")
def tokenizer(tiny: ModuleType) -> PreTrainedTokenizerBase:
    return tiny.char_tokenizer()


def test_a_unit_is_generated_in_blocks_and_kept_whole(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    engine = SeedEngine(tokenizer)
    done = fill(tmp_path, make_suite(), engine)
    found = unit(tmp_path)
    assert (done.samples, done.tokens) == (1024, sum(one.tokens for one in found.samples))
    assert {(one.item, one.index) for one in found.samples} == wanted_samples(make_suite(), "add2", "test")
    for one in found.samples:
        assert one.seed == derive_seed("score", one.item, one.index)
        assert one.text == str(one.seed % 1000)
    assert len(engine.sampling) == 4  # 1024 completions, four rounds of 64 a block
    assert len(found.effective) == 4
    for said in found.effective:
        assert said.pop("seconds") >= 0
        assert said == {
            "engine": "transformers",
            "device": "cpu",
            "temperature": 0.5,
            "lm_eval": version("lm-eval"),
            "weights": "swapped",
        }
    assert fill(tmp_path, make_suite(), engine).samples == 0
    assert len(engine.sampling) == 4


def test_a_gpu_takes_larger_blocks(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    engine = SeedEngine(tokenizer, device="NVIDIA H100")
    fill(tmp_path, make_suite(max_sequences=8), engine)
    assert len(engine.sampling) == 2  # 1024 = 2 x 64 x 8


def test_more_samples_ask_for_the_new_ones_alone(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    fill(tmp_path / "grown", make_suite(2), SeedEngine(tokenizer))
    engine = SeedEngine(tokenizer)
    assert fill(tmp_path / "grown", make_suite(8), engine).samples == 6 * 512
    grown = unit(tmp_path / "grown").samples
    new = {derive_seed("score", one.item, one.index) for one in grown if one.index >= 2}
    assert len(engine.asked) == len(new) == 6 * 512
    assert {request.seeds[0] for request in engine.asked} == new
    fill(tmp_path / "straight", make_suite(8), SeedEngine(tokenizer))
    assert unit(tmp_path / "grown").samples == unit(tmp_path / "straight").samples


def test_a_stop_in_the_middle_of_a_unit_loses_one_block(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    with pytest.raises(InfrastructureError, match="the engine died"):
        fill(tmp_path / "stopped", make_suite(), SeedEngine(tokenizer, calls=2))
    assert len(unit(tmp_path / "stopped").samples) == 512
    engine = SeedEngine(tokenizer)
    assert fill(tmp_path / "stopped", make_suite(), engine).samples == 512
    assert len(engine.asked) == 512
    fill(tmp_path / "straight", make_suite(), SeedEngine(tokenizer))
    assert unit(tmp_path / "stopped").samples == unit(tmp_path / "straight").samples


def test_generation_grades_nothing(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(asked: object) -> None:
        raise AssertionError(asked)

    monkeypatch.setattr(glue, "grade_all", fail)
    assert fill(tmp_path, make_suite(), SeedEngine(tokenizer)).samples == 1024


def test_only_what_lacks_samples_is_work(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Adding checkpoints, tasks or samples adds what is missing and no more."""

    def lacking(suite: Suite, checkpoints: list[Checkpoint], engine: str = "transformers") -> dict[str, int]:
        items = work_items(suite, checkpoints, open_store(tmp_path), engine)
        return {item.checkpoint.weights_hash: item.completions for item in items}

    aa, cc = (replace(checkpoint(name), folder=tmp_path) for name in ("aa", "cc"))
    one, two = (make_suite(count, tasks="['add2']") for count in (1, 2))
    both = make_suite(1, tasks="['add2','add3']")
    every = 512 + 256
    assert lacking(one, [aa]) == {"aa": every}
    fill(tmp_path, one, SeedEngine(tokenizer))  # the test split of aa
    assert lacking(one, [aa]) == {"aa": 256}
    assert lacking(one, [cc, aa]) == {"cc": every, "aa": 256}
    assert lacking(one, [aa], "vllm") == {"aa": every}
    assert lacking(two, [aa]) == {"aa": 2 * every - 512}
    assert lacking(both, [aa]) == {"aa": 2 * every - 512}
    fill(tmp_path, make_suite(4, tasks="['add2']"), SeedEngine(tokenizer))
    assert lacking(two, [aa]) == {"aa": 2 * 256}
