"""Every task of the catalog through lm-eval on a live engine; published sets by their fixtures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm_eval.tasks import TaskManager
from transformers import LlamaConfig, LlamaForCausalLM

from benchmark.texts.generate import ask, quiet_task_manager
from benchmark.texts.serving import open_scoring_engine
from tasks import catalog
from tasks.catalog import datasets, find_task, load_problems, splits_of, task_names
from tasks.decoding import task_decoding
from tasks.engines import Engine
from tasks.grading import Asked, grade_all
from tasks.prompts import prompt_text
from tasks.sampled import metric_names
from tests.prompt_goldens import byte_tokenizer
from tests.published import fetch_fixture
from tests.stored import lm_eval_metrics

TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}</>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
ITEMS = 2
NEW_TOKENS = 3
NAMES = task_names()


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model of random weights that can read and write every byte."""
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = byte_tokenizer(TEMPLATE, None, "<end>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16384,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def few_items(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Let every task have a few items: those of its fixture, or the first of the frozen ones."""
    folder = tmp_path_factory.mktemp("data")
    digests = {}
    for name in catalog.tasks():
        for split in ("validation", "test"):
            path = catalog.items_path(name, split)  # type: ignore[arg-type]
            raw = b"".join(path.read_bytes().splitlines(keepends=True)[:ITEMS])
            (folder / path.name).write_bytes(raw)
            digests[path.name] = hashlib.sha256(raw).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(catalog.read_manifest() | {"items": digests}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "DATA", folder)
        patch.setattr(catalog, "MANIFEST", folder / "manifest.json")
        patch.setenv("LAMBDA_GRPO_BENCH_DATA", str(folder))
        for name in datasets():
            fetch_fixture(name)
        yield


@pytest.fixture(scope="module")
def manager() -> TaskManager:
    return quiet_task_manager()


@pytest.fixture(scope="module", params=["transformers", pytest.param("vllm", marks=pytest.mark.vllm)])
def engine(request: pytest.FixtureRequest, policy: Path) -> Any:
    decodings = {task: task_decoding(task, max_new_tokens=NEW_TOKENS) for task in NAMES}
    opened = open_scoring_engine(request.param, policy, decodings, dtype="float32")
    yield opened
    opened.close()


@pytest.mark.parametrize("task", NAMES)
def test_it_runs_through_lm_eval_as_it_asks_to(
    task: str, engine: Engine, manager: TaskManager, policy: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer, split = AutoTokenizer.from_pretrained(policy), splits_of(task)[-1]
    problems, wanted = load_problems(task, split), task_decoding(task, max_new_tokens=NEW_TOKENS)
    samples, effective = ask(task, split, wanted, engine, tokenizer, manager)
    assert [(one.item, one.index) for one in samples] == [
        (problem.id, index) for problem in problems for index in range(wanted.samples)
    ]
    prompts = {problem.id: prompt_text(task, problem.question, tokenizer) for problem in problems}
    for sample in samples:
        assert sample.prompt_hash == hashlib.sha256(prompts[sample.item].encode()).hexdigest()
        assert 1 <= sample.tokens <= NEW_TOKENS
    assert len({sample.seed for sample in samples}) == len(samples)
    asked = {
        "temperature": wanted.sampling.temperature,
        "top_p": wanted.sampling.top_p,
        "max_tokens": NEW_TOKENS,
    }
    assert effective.items() >= asked.items()  # read back from the engine
    theirs = lm_eval_metrics(task, split, wanted, engine, tokenizer, manager)
    assert set(theirs) == set(metric_names(wanted.samples))
    golds, kind = {problem.id: problem.gold for problem in problems}, find_task(task).answer
    grades = grade_all([Asked(one.text, golds[one.item], one.finish, kind) for one in samples])
    assert theirs["accuracy"] == pytest.approx(np.mean([grade.score for grade in grades]))
