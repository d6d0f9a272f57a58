"""lm-eval around an engine that answers from a dict: its number is ours, and nothing is lost between."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from lm_eval.tasks import TaskManager
from safetensors.numpy import save_file
from transformers import PreTrainedTokenizerBase

from benchmark.store import Sample
from benchmark.suite import Suite, run_folder
from benchmark.texts.generate import ask, quiet_task_manager, sample_request
from benchmark.texts.lm import EngineLM
from tasks import catalog
from tasks.catalog import groups, load_problems, splits_of, task_names
from tasks.checkpoints import inspect_checkpoint
from tasks.decoding import task_decoding
from tasks.engines import Completion, Finish, Request, Sampling
from tasks.harness import HARNESS
from tasks.harness.configs import lm_eval_name, yaml_files
from tasks.harness.glue import Answer, mean_of_known, results
from tasks.prompts import prompt_text
from tasks.schema import SCORED, SPLITS
from tasks.seeds import derive_seed
from tests.stored import lm_eval_metrics, write_samples
from tests.toy import all_rows

EOS = 2


class DictEngine:
    """An engine that looks its answers up: prompt -> what it says each time; nothing to the rest."""

    name = "transformers"

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, answers: dict[str, list[tuple[str, Finish]]]
    ) -> None:
        self.tokenizer = tokenizer
        self.answers = answers
        self.asked: list[Request] = []
        self.sampling: list[Sampling] = []

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = True
    ) -> list[list[Completion]]:
        del logprobs
        self.sampling.append(sampling)
        decoded = []
        for request in requests:
            said = self.answers.get(self.tokenizer.decode(list(request.prompt)), [])
            turn = sum(earlier.prompt == request.prompt for earlier in self.asked)
            text, finish = said[turn % len(said)] if said else ("", Finish.STOP)
            ids = tuple(self.tokenizer.encode(text, add_special_tokens=False))
            ids += (EOS,) if finish is Finish.STOP else ()
            self.asked.append(request)
            decoded.append([Completion(tokens=ids, logprobs=(0.0,) * len(ids), finish=finish)])
        return decoded

    def token_logprobs(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        raise NotImplementedError

    def swap(self, folder: Path) -> None:
        raise NotImplementedError

    def update(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        raise NotImplementedError

    def effective_sampling(self, sampling: Sampling) -> dict[str, str | float | int]:
        return {"temperature": sampling.temperature}

    def describe(self) -> dict[str, str]:
        return {"engine": self.name, "device": "cpu"}

    def close(self) -> None:
        raise NotImplementedError


@pytest.fixture(scope="module")
def manager() -> TaskManager:
    return quiet_task_manager()


@pytest.fixture(scope="module")
def tokenizer(tiny: ModuleType) -> PreTrainedTokenizerBase:
    return tiny.char_tokenizer()


@pytest.fixture(autouse=True)
def few_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let add2 have 12 items a split; lm-eval's share of the time is per item."""
    digests = {}
    (tmp_path / "data").mkdir()
    for name, kept in (("add2", 12), ("sums1", 80)):
        for split in SPLITS:
            path = catalog.items_path(name, split)
            raw = b"".join(path.read_bytes().splitlines(keepends=True)[:kept])
            (tmp_path / "data" / path.name).write_bytes(raw)
            digests[path.name] = hashlib.sha256(raw).hexdigest()
    (tmp_path / "data" / "manifest.json").write_text(
        json.dumps({**catalog.read_manifest(), "items": digests})
    )
    monkeypatch.setattr(catalog, "DATA", tmp_path / "data")
    monkeypatch.setattr(catalog, "MANIFEST", tmp_path / "data" / "manifest.json")


def make_suite(**changes: Any) -> Suite:
    fields = {
        "name": "toy",
        "summary": "",
        "recipe": "",
        "arms": ["grpo"],
        "baseline": "grpo",
        "seeds": [0],
        "tasks": ["add2"],
    }
    return Suite.model_validate(fields | changes)


def prompt(at: int, split: str = "test") -> str:
    return load_problems("add2", split)[at].question.replace(" ", "") + "="  # type: ignore[arg-type]


def gold(at: int, split: str = "test") -> str:
    return load_problems("add2", split)[at].gold  # type: ignore[arg-type]


def mixed() -> dict[str, list[tuple[str, Finish]]]:
    """Five right, one right but cut off, one wrong; the other five of the twelve say nothing."""
    right = {prompt(at): [(gold(at), Finish.STOP)] for at in range(5)}
    return right | {prompt(5): [(gold(5), Finish.LENGTH)], prompt(6): [("1+1=999", Finish.STOP)]}


def test_lm_eval_knows_our_tasks_and_no_other(manager: TaskManager) -> None:
    ours = {
        lm_eval_name(name, split) for name in task_names() for split in splits_of(name) if split in SCORED
    }
    assert set(manager.all_subtasks) == ours
    assert set(manager.all_groups) == set(groups())


def test_the_yaml_files_say_what_the_catalog_says() -> None:
    written = {path.name: path.read_text() for path in HARNESS.glob("*.yaml") if path.name != "_shared.yaml"}
    assert written == yaml_files(), "run `python -m tasks harness`"


def test_every_item_is_asked_as_in_training_and_kept(
    manager: TaskManager, tokenizer: PreTrainedTokenizerBase
) -> None:
    engine = DictEngine(tokenizer, mixed())
    samples, effective = ask("add2", "test", task_decoding("add2"), engine, tokenizer, manager)
    problems = load_problems("add2", "test")
    assert [tokenizer.decode(list(request.prompt)) for request in engine.asked] == [
        problem.question.replace(" ", "") + "=" for problem in problems
    ]
    assert engine.sampling == [Sampling(temperature=0.0, max_new_tokens=16)]
    assert [sample.item for sample in samples] == [problem.id for problem in problems]
    assert samples[0].text == gold(0)
    assert samples[0].tokens == len(gold(0)) + 1
    assert [sample.finish for sample in samples] == [*[Finish.STOP] * 5, Finish.LENGTH, *[Finish.STOP] * 6]
    assert [sample.text for sample in samples[7:]] == [""] * 5
    assert effective.pop("seconds") >= 0
    assert effective == {"engine": "transformers", "device": "cpu", "temperature": 0.0}
    theirs = DictEngine(tokenizer, mixed())
    metrics = lm_eval_metrics("add2", "test", task_decoding("add2"), theirs, tokenizer, manager)
    assert metrics == {"accuracy": pytest.approx(5 / 12)}  # the one that was cut off does not count
    assert theirs.asked == engine.asked  # lm-eval's own evaluation asks the same


def test_a_chat_task_is_asked_through_the_template_once(manager: TaskManager, tiny: ModuleType) -> None:
    tokenizer = tiny.char_tokenizer()
    tokenizer.chat_template = "<bos>{% for message in messages %}{{ message.content }}\n{% endfor %}="
    engine = DictEngine(tokenizer, {})
    samples, _ = ask("sums1", "validation", task_decoding("sums1"), engine, tokenizer, manager)
    assert len(samples) == 40
    for sample, problem in zip(samples, load_problems("sums1", "validation"), strict=True):
        text = prompt_text("sums1", problem.question, tokenizer)
        assert text == f"<bos>{problem.question}\n="
        assert sample.prompt_hash == hashlib.sha256(text.encode()).hexdigest()
    assert {request.prompt.count(1) for request in engine.asked} == {1}  # one <bos>


def test_validation_and_test_are_different_items(
    manager: TaskManager, tokenizer: PreTrainedTokenizerBase
) -> None:
    decoding = task_decoding("add2")
    samples, _ = ask("add2", "validation", decoding, DictEngine(tokenizer, mixed()), tokenizer, manager)
    assert [sample.item for sample in samples] == [f"add2/validation/{at:04d}" for at in range(12)]
    engine = DictEngine(tokenizer, mixed())
    assert lm_eval_metrics("add2", "validation", decoding, engine, tokenizer, manager) == {"accuracy": 0}


def write_run(out: Path) -> None:
    folder = run_folder(out, "grpo", 0)
    for step in (0, 1):
        checkpoint = folder / "checkpoints" / f"step_{step:06d}"
        checkpoint.mkdir(parents=True)
        save_file({"weight": torch.full((2,), float(step)).numpy()}, checkpoint / "model.safetensors")
        (checkpoint / "config.json").write_text("{}")
        (checkpoint / "tokenizer.json").write_text("{}")
    (folder / "metrics.jsonl").write_text('{"step": 1, "tokens": 5}\n')
    (folder / "timings.jsonl").write_text('{"step": 1, "time/step_s": 1.0}\n')
    (folder / "config.json").write_text('{"config": {"policy": "tiny"}, "config_hash": "c"}')
    manifest = {"state": "done", "git_sha": "a", "git_dirty": False, "versions": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_our_score_of_the_same_samples_is_the_number_of_lm_eval(
    manager: TaskManager, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    suite, out = make_suite(), tmp_path / "out"
    write_run(out)
    theirs = {}
    for step, answers in enumerate(({}, mixed())):
        checkpoint = inspect_checkpoint(run_folder(out, "grpo", 0) / "checkpoints" / f"step_{step:06d}")
        for split in ("validation", "test"):
            engine, decoding = DictEngine(tokenizer, answers), suite.decoding("add2")
            samples, effective = ask("add2", split, decoding, engine, tokenizer, manager)  # type: ignore[arg-type]
            request = sample_request(suite, checkpoint, "add2", split, "transformers")  # type: ignore[arg-type]
            write_samples(out, request, effective, samples)
            engine = DictEngine(tokenizer, answers)
            metrics = lm_eval_metrics("add2", split, decoding, engine, tokenizer, manager)  # type: ignore[arg-type]
            theirs[step, split] = metrics["accuracy"]
    rows = {(row.step, row.split): row for row in all_rows(suite, out)}
    assert {place: row.value for place, row in rows.items()} == theirs
    assert theirs[1, "test"] == pytest.approx(5 / 12)
    assert (rows[1, "test"].n_truncated, rows[1, "test"].n_unparsed) == (1, 5)


def test_every_sample_of_every_item_has_a_seed_of_its_own(
    manager: TaskManager, tokenizer: PreTrainedTokenizerBase
) -> None:
    decoding = task_decoding("add2", samples=3, temperature=0.75)
    answers = {prompt(at): [(gold(at), Finish.STOP), ("0", Finish.STOP)] for at in range(12)}
    engine = DictEngine(tokenizer, answers)
    samples, _ = ask("add2", "test", decoding, engine, tokenizer, manager)
    expected = [(f"add2/test/{at:04d}", index) for at in range(12) for index in range(3)]
    assert sorted((sample.item, sample.index) for sample in samples) == expected
    for sample in samples:
        assert sample.seed == derive_seed("score", sample.item, sample.index)
    assert len({sample.seed for sample in samples}) == 36
    assert [request.seeds for request in engine.asked] == [(sample.seed,) for sample in samples]
    assert {sample.index: sample.text for sample in samples if sample.item == "add2/test/0003"} == {
        0: gold(3),
        1: "0",
        2: gold(3),
    }
    assert engine.sampling[0].temperature == 0.75
    theirs = DictEngine(tokenizer, answers)
    assert lm_eval_metrics("add2", "test", decoding, theirs, tokenizer, manager) == {
        "accuracy": pytest.approx(2 / 3),  # all samples, not the first alone
        "pass@2": 1.0,
        "maj@2": pytest.approx(2 / 3),  # right-wrong, right-right, wrong-right
    }
    assert theirs.asked == engine.asked


def test_asking_again_asks_the_same(manager: TaskManager, tokenizer: PreTrainedTokenizerBase) -> None:
    decoding = task_decoding("add2", samples=2, temperature=0.5)
    runs: list[list[Sample]] = [
        ask("add2", "test", decoding, DictEngine(tokenizer, mixed()), tokenizer, manager)[0] for _ in range(2)
    ]
    assert runs[0] == runs[1]
    greedy, _ = ask("add2", "test", task_decoding("add2"), DictEngine(tokenizer, mixed()), tokenizer, manager)
    assert [sample.index for sample in greedy] == [0] * 12  # the decoding of one suite does not stay behind


@pytest.mark.parametrize(
    ("changes", "sampling"),
    [
        ({"do_sample": True, "temperature": 0.5}, {"temperature": 0.25}),
        ({"do_sample": True, "temperature": 0.5}, {}),
        ({"temperature": 0.25}, {"temperature": 0.25}),  # do_sample false: greedy, whatever it says
        ({"until": ["\n"]}, {}),
        ({"top_p": 0.9}, {}),
        ({"max_gen_toks": 17}, {}),
    ],
)
def test_a_task_that_asks_for_other_decoding_is_refused(
    manager: TaskManager,
    tokenizer: PreTrainedTokenizerBase,
    changes: dict[str, Any],
    sampling: dict[str, float],
) -> None:
    from lm_eval import evaluate

    loaded = manager.load(["add2_test"])
    asked = loaded["tasks"]["add2_test"].config.generation_kwargs | changes
    loaded["tasks"]["add2_test"].set_config(key="generation_kwargs", value=asked)
    engine = DictEngine(tokenizer, {})
    model = EngineLM(engine, tokenizer, replace(Sampling(temperature=0.0, max_new_tokens=16), **sampling))
    with pytest.raises(ValueError, match=r"the task asks for .* this model decodes with Sampling"):
        evaluate(model, loaded, bootstrap_iters=0, log_samples=False)
    assert engine.asked == []


def test_likelihoods_are_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    model = EngineLM(DictEngine(tokenizer, {}), tokenizer, Sampling(temperature=0, max_new_tokens=1))
    with pytest.raises(TypeError, match="only generates"):
        model.loglikelihood([])
    with pytest.raises(TypeError, match="only generates"):
        model.loglikelihood_rolling([])


def said(text: str, finish: Finish = Finish.STOP) -> Answer:
    answer = Answer(text)
    answer.finish = finish
    return answer


def test_verdicts_reach_lm_eval() -> None:
    doc = {"id": "add2/test/0000", "gold": "5"}
    assert results(doc, [[said("5")]]) == {"accuracy": 1.0}
    assert results(doc, [[said("5", Finish.LENGTH)]]) == {"accuracy": 0.0}
    several = [said("5"), said("6"), said("5", Finish.LENGTH), said("")]
    assert results(doc, [several])["accuracy"] == 0.25
    assert results(doc | {"gold": ""}, [[said("5")]]) == {"accuracy": None}
    assert mean_of_known([1.0, None, 0.0]) == 0.5
    assert mean_of_known([None]) is None
