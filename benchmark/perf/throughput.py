"""Tokens per second through our path against a bare `LLM.generate` of the same prompts, in turns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.perf.cases import policy_of, suite_of
from benchmark.perf.ratios import share
from benchmark.store import open_store
from benchmark.texts.generate import generate_unit
from benchmark.texts.serving import Serving
from tasks.catalog import load_problems
from tasks.checkpoints import inspect_checkpoint
from tasks.engines import Sampling
from tasks.engines.vllm_engine import VllmEngine
from tasks.prompts import encode_prompt, prompt_text
from tasks.seeds import derive_seed

MODELS = {"embedded": ("add3", 16), "smollm2": ("sums1", 64)}
"""Policy -> task and longest completion."""


def forget_prefixes(engine: VllmEngine) -> None:
    """Let no side profit from what the other one left in the prefix cache."""
    engine._llm.reset_prefix_cache()


def bare_rate(engine: VllmEngine, asked: Sequence[tuple[tuple[int, ...], int]], sampling: Sampling) -> float:
    """Return tokens per second of vLLM's own call on (prompt, seed) pairs, made ready before."""
    prompts = [engine._vllm.TokensPrompt(prompt_token_ids=list(prompt)) for prompt, _ in asked]
    parameters = [
        engine._vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_new_tokens,
            seed=seed,
            stop_token_ids=sorted(engine._ends),
            ignore_eos=True,
            detokenize=False,
        )
        for _, seed in asked
    ]
    started = time.perf_counter()
    outputs = engine._llm.generate(prompts, parameters, use_tqdm=False)
    return sum(len(one.outputs[0].token_ids) for one in outputs) / (time.perf_counter() - started)


def throughput(model: str, turns: int, smollm2: Path | None) -> dict[str, Any]:
    """Measure both sides on one engine, `turns` times each after one that is not counted.

    Ours is `generate_unit`: lm-eval's requests, tokens, seeds, generation, texts, and blocks on the disk.
    The bare side is given token ids and sampling parameters that are ready, with the same seeds.
    """
    task, new_tokens = MODELS[model]
    checkpoint = inspect_checkpoint(policy_of(model, smollm2))
    suite = suite_of([task], new_tokens, temperature=1.0)
    serving = Serving("vllm", checkpoint.folder, {task: suite.decoding(task)}, dtype="float32")
    engine = serving.engine
    assert isinstance(engine, VllmEngine)
    asked = [
        (
            encode_prompt(prompt_text(task, problem.question, serving.tokenizer), serving.tokenizer),
            derive_seed("score", problem.id, 0),
        )
        for problem in load_problems(task, "test")
    ]
    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        store = open_store(Path(scratch))
        for turn in range(-1, turns):
            forget_prefixes(engine)
            started = time.perf_counter()
            with store.writer(f"turn{turn}") as writer:
                done = generate_unit(suite, checkpoint, task, "test", serving, writer, set())
            rate = done.tokens / (time.perf_counter() - started)
            forget_prefixes(engine)
            if turn >= 0:
                ours.append(rate)
                bare.append(bare_rate(engine, asked, suite.decoding(task).sampling))
    serving.close()
    return {
        "case": f"throughput, {model}",
        "summary": f"{task} test, {len(asked)} prompts, temperature 1; tokens per second of our path (first) "
        "and of a bare LLM.generate",
        "goal": 0.95,
        "unit": "/s",
        **share(ours, bare, np.random.default_rng(0)),
        "ours_per_s": ours,
        "bare_per_s": bare,
    }
