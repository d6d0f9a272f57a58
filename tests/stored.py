"""Samples put into a store by hand, and the number that lm-eval itself makes of an engine's answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.store import Sample, open_store
from tasks.catalog import find_task
from tasks.decoding import Decoding
from tasks.engines import Engine
from tasks.harness.configs import lm_eval_name
from tasks.sampled import metric_names
from tasks.schema import Split

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager
    from transformers import PreTrainedTokenizerBase


def write_samples(
    out: Path, request: dict[str, Any], effective: dict[str, Any], samples: list[Sample]
) -> Path:
    """Put one block into a shard of its own; returns that shard."""
    store = open_store(out)
    before = set(store.folder.glob("*.jsonl"))
    with store.writer("test") as writer:
        writer.append(request, effective, samples)
    (path,) = set(store.folder.glob("*.jsonl")) - before
    return path


def lm_eval_metrics(
    task: str,
    split: Split,
    decoding: Decoding,
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    manager: TaskManager,
) -> dict[str, float | None]:
    """Let lm-eval ask, grade and aggregate by itself."""
    from lm_eval import evaluate

    from benchmark.texts.lm import EngineLM, lm_eval_task

    model, name = EngineLM(engine, tokenizer, decoding.sampling), lm_eval_name(task, split)
    loaded = {"tasks": {name: lm_eval_task(task, split, decoding, manager)}}
    found = evaluate(
        model, loaded, bootstrap_iters=0, log_samples=False, apply_chat_template=find_task(task).chat
    )["results"][name]
    return {metric: found[f"{metric},all"] for metric in metric_names(decoding.samples)}
