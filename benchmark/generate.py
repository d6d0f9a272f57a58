"""Texts for every checkpoint and task, through lm-eval on one live engine. No text is graded here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.serving import open_scoring_engine
from benchmark.store import Sample, sample_key, samples_path, write_samples
from benchmark.suite import Suite
from tasks.catalog import find_task, items_digest, missing_sets
from tasks.checkpoints import Checkpoint
from tasks.decoding import Decoding
from tasks.engines import Engine
from tasks.errors import UserError
from tasks.provenance import engine_version
from tasks.sampled import metric_names
from tasks.schema import SCORED, Split

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager


def sample_request(
    suite: Suite, checkpoint: Checkpoint, task: str, split: Split, engine: str
) -> dict[str, Any]:
    """Return everything that decides the texts of one checkpoint on one split; its hash names their file."""
    definition, decoding = find_task(task), suite.decoding(task)
    return {
        "weights": checkpoint.weights_hash,
        "tokenizer": checkpoint.tokenizer_hash,
        "asking": checkpoint.asking_hash,
        "task": task,
        "split": split,
        "items": items_digest(task, split),
        "prompt": definition.prompt,
        "chat": definition.chat,
        "system": definition.system,
        **asdict(decoding.sampling),
        "samples": decoding.samples,
        "engine": engine,
        "engine_version": engine_version(engine),
        "dtype": suite.dtype,
    }


def missing_work(
    suite: Suite, checkpoints: Sequence[Checkpoint], out: Path, engine: str
) -> list[tuple[Checkpoint, str, Split]]:
    """Return what has no texts yet, sorted by checkpoint so that each is loaded once."""
    return [
        (checkpoint, task, split)
        for checkpoint in checkpoints
        for task, split in measurable(suite)
        if not samples_path(out, sample_key(sample_request(suite, checkpoint, task, split, engine))).exists()
    ]


def check_sets(suite: Suite, *, allow_missing: bool) -> None:
    """Refuse a suite whose problem sets are not on this machine, as far as that was not allowed.

    Raises:
        UserError: a missing set, or too little left without it.
    """
    missing = missing_sets(suite.tasks)
    if not missing:
        return
    if not allow_missing:
        raise UserError(
            "; ".join(missing.values()) + "; or go on without, with --allow-missing: the rows will say why"
        )
    left = {split for task, split in suite.scored() if task not in missing}
    if left != set(SCORED):
        raise UserError(
            f"without {', '.join(missing)} the suite has no {min(set(SCORED) - left)} split to score; "
            "fetch one of them"
        )


def measurable(suite: Suite) -> list[tuple[str, Split]]:
    """Return the tasks and splits of a suite whose items are on this machine."""
    missing = missing_sets(suite.tasks)
    return [(task, split) for task, split in suite.scored() if task not in missing]


def generate(
    suite: Suite,
    work: Sequence[tuple[Checkpoint, str, Split]],
    out: Path,
    engine_name: str,
    report: Callable[[str], None],
) -> None:
    """Generate the texts of a list of work with one engine; each finished split is on disk at once."""
    if not work:
        return
    from transformers import AutoTokenizer

    checkpoint = work[0][0]
    engine = open_scoring_engine(
        engine_name,
        checkpoint.folder,
        {task: suite.decoding(task) for task, _ in measurable(suite)},
        dtype=suite.dtype,
        max_sequences=suite.max_sequences,
    )
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder)
    manager = quiet_task_manager()
    try:
        for number, (wanted, task, split) in enumerate(work, start=1):
            if wanted.weights_hash != checkpoint.weights_hash:
                engine.swap(wanted.folder)
                checkpoint = wanted
            samples, effective = ask(task, split, suite.decoding(task), engine, tokenizer, manager)
            seconds = effective["seconds"]
            write_samples(out, sample_request(suite, wanted, task, split, engine.name), effective, samples)
            report(
                f"{number}/{len(work)}  {wanted.folder}  {task} {split}: {len(samples)} in {seconds:.1f} s"
            )
    finally:
        engine.close()


def quiet_task_manager() -> TaskManager:
    """Return a task manager that knows our tasks and nothing else; lm-eval's own index takes 17 s to read."""
    from datasets import disable_progress_bars
    from lm_eval.tasks import TaskManager

    from tasks.harness import HARNESS

    disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager(include_path=str(HARNESS), include_defaults=False)


def ask(
    task: str, split: Split, decoding: Decoding, engine: Engine, tokenizer: Any, manager: TaskManager
) -> tuple[list[Sample], dict[str, Any]]:
    """Run one lm-eval task on the engine; returns its samples and what the engine says it did."""
    from lm_eval import evaluate

    from benchmark.lm import EngineLM
    from tasks.harness.configs import decoding_keys, lm_eval_name
    from tasks.harness.glue import mean_of_known

    model = EngineLM(engine, tokenizer, decoding.sampling)
    name = lm_eval_name(task, split)
    changed = {"task": name, **decoding_keys(decoding, mean_of_known)}
    loaded = manager.load([{"group": "asked", "task": [changed]}])  # a group is what may change a task's keys
    results = evaluate(
        model, loaded, bootstrap_iters=0, log_samples=False, apply_chat_template=find_task(task).chat
    )
    effective = {
        **engine.describe(),
        **engine.effective_sampling(decoding.sampling),
        "seconds": round(model.seconds, 3),
        "lm_eval": {
            metric: results["results"][name][f"{metric},all"] for metric in metric_names(decoding.samples)
        },
    }
    return model.samples, effective
