"""lm-eval's own command against our path: the same greedy texts and the same number, to the last digit.

`lm_eval` runs as a person would run it, with our task folder; ours is one engine, lm-eval's requests and our
grading of the stored texts. Published sets are their fixtures' invented items.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmark.texts.generate import ask, quiet_task_manager
from benchmark.texts.serving import open_scoring_engine
from tasks.catalog import datasets, find_task, load_problems, scored_split, task_names
from tasks.decoding import task_decoding
from tasks.engines import Finish
from tasks.engines.forward import load_tokenizer
from tasks.grading import Asked, grade_all
from tasks.harness import HARNESS
from tasks.harness.configs import lm_eval_name
from tests.prompt_goldens import byte_tokenizer
from tests.published import fetch_fixture
from trainer.policies import policy_folder

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}</>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
LIMIT = 3
BACKENDS = {
    "hf": ["-m", "lm_eval", "run", "--model", "hf", "--batch_size", "16", "--device", "cpu"],
    "vllm": ["-m", "benchmark.perf.lm_eval_vllm", "run", "--model", "vllm", "--batch_size", "auto"],
}
MODEL_ARGS = {
    "hf": "dtype=float32",
    "vllm": "dtype=float32,enforce_eager=True,kv_cache_memory_bytes=1073741824",
}
ENGINES = {"hf": "transformers", "vllm": "vllm"}


@pytest.fixture(scope="module")
def byte_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of random weights that can read every byte and writes digits more often than not."""
    folder, tokenizer = tmp_path_factory.mktemp("policy"), byte_tokenizer(TEMPLATE, None, "<end>")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=64,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                initializer_range=0.3,
                max_position_embeddings=16384,
                tie_word_embeddings=False,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=None,
            )
        )
        digits = tokenizer.convert_tokens_to_ids(list("0123456789"))
        with torch.no_grad():  # so that greedy texts hold answers, and some of them are right
            model.lm_head.weight *= 0.1
            model.lm_head.weight[digits] *= 10
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put the fixtures of the published sets where this process and lm_eval look for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMBDA_GRPO_BENCH_DATA", str(tmp_path_factory.mktemp("data")))
        for name in datasets():
            fetch_fixture(name)
        yield


def command(
    backend: str, policy: Path, tasks: Sequence[str], out: Path, *, new_tokens: int, limit: int | None
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Run lm_eval; returns its numbers and the first text of every item, both by lm-eval's task name."""
    chat = {find_task(task).chat for task in tasks}
    names = [lm_eval_name(task, scored_split(task)) for task in tasks]
    done = subprocess.run(
        [
            sys.executable,
            *BACKENDS[backend],
            *("--model_args", f"pretrained={policy},{MODEL_ARGS[backend]}"),
            *("--include_path", str(HARNESS), "--tasks", ",".join(names)),
            *("--gen_kwargs", f"temperature=0,do_sample=False,max_gen_toks={new_tokens}"),
            *("--output_path", str(out / "found.json"), "--log_samples"),
            *(["--apply_chat_template"] if chat == {True} else []),
            *(["--limit", str(limit)] if limit else []),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (found,) = out.glob("found*.json")
    texts = {}
    for name in names:
        (path,) = out.glob(f"samples_{name}_2*.jsonl")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        texts[name] = [line["resps"][0][0] for line in sorted(lines, key=lambda line: line["doc_id"])]
    return json.loads(found.read_text())["results"], texts


def agreed(
    backend: str,
    policy: Path,
    tasks: Sequence[str],
    out: Path,
    *,
    new_tokens: int,
    limit: int | None,
    finishes: bool,
) -> dict[str, float]:
    """Assert that lm_eval's command and our path agree on every task; returns the numbers.

    Its models pass on texts alone, so it grades a text that was cut off as one that ended. Without `finishes`
    we do the same here; with it we grade as we always do, which must make no difference where all texts end.
    """
    numbers, texts = command(backend, policy, tasks, out, new_tokens=new_tokens, limit=limit)
    decodings = {
        task: task_decoding(task, samples=1, temperature=0.0, max_new_tokens=new_tokens) for task in tasks
    }
    engine = open_scoring_engine(ENGINES[backend], policy, decodings, dtype="float32")
    tokenizer, manager = load_tokenizer(policy), quiet_task_manager()
    ours = {}
    try:
        for task, decoding in decodings.items():
            split = scored_split(task)
            name = lm_eval_name(task, split)
            problems = load_problems(task, split)[:limit]
            samples = {one.item: one for one in ask(task, split, decoding, engine, tokenizer, manager)[0]}
            kept = [samples[problem.id] for problem in problems]
            assert [one.text for one in kept] == texts[name], name
            kind = find_task(task).answer
            asked = [
                Asked(one.text, problem.gold, one.finish if finishes else Finish.STOP, kind)
                for one, problem in zip(kept, problems, strict=True)
            ]
            grades = grade_all(asked)
            ours[task] = fmean(grade.score for grade in grades if grade.score is not None)
            assert numbers[name]["accuracy,all"] == ours[task], name
    finally:
        engine.close()
    return ours


@pytest.mark.parametrize("chat", [False, True])
def test_every_task_gives_the_number_of_the_command(byte_policy: Path, tmp_path: Path, chat: bool) -> None:
    tasks = [task for task in task_names() if find_task(task).chat is chat]
    assert len(tasks) > 5
    agreed("hf", byte_policy, tasks, tmp_path, new_tokens=6, limit=LIMIT, finishes=False)


BOTH = ["hf", pytest.param("vllm", marks=pytest.mark.vllm)]


@pytest.mark.parametrize("backend", BOTH)
def test_the_embedded_policy_has_the_number_of_the_command(backend: str, tmp_path: Path) -> None:
    """Whole splits and a policy that is right at times."""
    found = agreed(
        backend,
        policy_folder("embedded"),
        ["add2", "add3"],
        tmp_path,
        new_tokens=16,
        limit=None,
        finishes=True,
    )
    assert 0.3 < found["add2"] < 0.6
    assert 0.01 < found["add3"] < 0.2
