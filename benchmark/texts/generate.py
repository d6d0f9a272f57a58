"""Texts for every checkpoint and task: lm-eval builds the requests, one live engine answers them.

No text is graded here. A unit is one checkpoint on one task and split, decoded in one way by one engine; what
is missing of it is generated in blocks, and each block is on the disk before the next one begins.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from benchmark.store import Sample
from benchmark.suite import Suite
from benchmark.texts.serving import Serving
from tasks.catalog import find_task, items_digest, load_problems, missing_sets
from tasks.checkpoints import Checkpoint
from tasks.decoding import Decoding
from tasks.engines import Engine
from tasks.errors import UserError
from tasks.provenance import engine_version, package_versions
from tasks.schema import Split

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

    from benchmark.texts.lm import Ask

ROUNDS_ON_CPU, ROUNDS = 4, 64
"""A block is this many times `max_sequences` completions: 1024 on a CPU and 16384 on a GPU where a suite says
nothing else. At the end of a block the engine waits for its longest completion, and on a GPU a step costs
about the same however few are left. With a longest completion of 4 times the mean, R rounds take R + 3 means:
64 rounds lose 4.5 % against a unit without an end, and nothing on one that fits into a block. On a CPU a step
costs about what is in it. A kill loses the block at work: seconds to minutes."""


OF_CHECKPOINT = ("weights", "tokenizer", "asking", "config")
"""Keys of a request that say which checkpoint is asked; the others say what, and how."""


def sample_request(
    suite: Suite, checkpoint: Checkpoint, task: str, split: Split, engine: str
) -> dict[str, Any]:
    """Return everything that decides the texts of one checkpoint on one split; its hash is the unit's key.

    The number of samples is not part of it: more samples of an item are more samples of the same unit.
    """
    definition, decoding = find_task(task), suite.decoding(task)
    return {
        "weights": checkpoint.weights_hash,
        "tokenizer": checkpoint.tokenizer_hash,
        "asking": checkpoint.asking_hash,
        "config": checkpoint.config_hash,
        "task": task,
        "split": split,
        "items": items_digest(task, split),
        "prompt": definition.prompt,
        "chat": definition.chat,
        "system": definition.system,
        **asdict(decoding.sampling),
        "engine": engine,
        "engine_version": engine_version(engine),
        "dtype": suite.dtype,
    }


MAY_DIFFER = {"device", "seconds", "weights"}
"""What blocks of one unit may differ in: where and when they were made, not how."""


def check_alike(effective: Sequence[Mapping[str, Any]], what: str) -> None:
    """Refuse blocks of one unit that were not generated in one way: they are not of one distribution.

    Args:
        effective: what the engine said of every block; of torch the version counts, not its build.
        what: names the unit.

    Raises:
        UserError: names what differs.
    """
    said = [
        {key: str(value) for key, value in one.items() if key not in MAY_DIFFER}
        | {"torch": str(one.get("torch", "")).partition("+")[0]}
        for one in effective
    ]
    for other in said[1:]:
        for key in sorted(said[0].keys() | other.keys()):
            if said[0].get(key) != other.get(key):
                raise UserError(
                    f"{what}: generated in two ways, {key}={said[0].get(key)} and {other.get(key)}; "
                    "generate its texts anew in one environment, into a new --out"
                )


def wanted_samples(suite: Suite, task: str, split: Split) -> set[tuple[str, int]]:
    """Return (item, index) of every sample that the suite wants of a split."""
    count = suite.decoding(task).samples
    return {(problem.id, index) for problem in load_problems(task, split) for index in range(count)}


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
    if left != set(suite.splits):
        raise UserError(
            f"without {', '.join(missing)} the suite has no {min(set(suite.splits) - left)} split to score; "
            "fetch one of them"
        )


def measurable(suite: Suite) -> list[tuple[str, Split]]:
    """Return the tasks and splits of a suite whose items are on this machine."""
    missing = missing_sets(suite.tasks)
    return [(task, split) for task, split in suite.scored() if task not in missing]


class Appends(Protocol):
    """A `benchmark.store.Writer`, or what passes blocks on to one."""

    def append(self, request: dict[str, Any], effective: dict[str, Any], samples: list[Sample]) -> None:
        """Put a block on the disk."""


class Generated(NamedTuple):
    """What `generate_unit` added."""

    samples: int
    tokens: int
    seconds: float
    """Of the engine at work."""


def generate_unit(
    suite: Suite,
    checkpoint: Checkpoint,
    task: str,
    split: Split,
    serving: Serving,
    writer: Appends,
    held: Collection[tuple[str, int]],
) -> Generated:
    """Generate what a unit lacks; each block is on the disk when the next one begins.

    Args:
        suite: says how the task is decoded.
        checkpoint: what `serving` holds.
        task: of the suite.
        split: of the task.
        serving: the engine; its `how` goes into every block as "weights".
        writer: of an open shard.
        held: (item, index) of the samples that are there already (`Store.held`).

    Raises:
        InfrastructureError: no room on the disk; the blocks before are safe.
    """
    from benchmark.texts.lm import EngineLM

    engine, decoding = serving.engine, suite.decoding(task)
    request = sample_request(suite, checkpoint, task, split, engine.name)
    model = EngineLM(engine, serving.tokenizer, decoding.sampling)
    asking = _Asking(checkpoint.tokenizer_hash, checkpoint.asking_hash, serving.tokenizer)
    asks = _requests(task, split, items_digest(task, split), decoding, asking)
    missing = [ask for ask in asks if (ask.item, ask.index) not in held]
    said = {
        **engine.describe(),
        **engine.effective_sampling(decoding.sampling),
        "lm_eval": package_versions()["lm-eval"],
        "weights": serving.how,
    }
    size = suite.max_sequences * (ROUNDS_ON_CPU if said["device"] == "cpu" else ROUNDS)
    tokens = 0
    for start in range(0, len(missing), size):
        before = model.seconds
        samples = [sample for sample, _ in model.answer(missing[start : start + size])]
        writer.append(request, said | {"seconds": round(model.seconds - before, 3)}, samples)
        tokens += sum(sample.tokens for sample in samples)
    return Generated(len(missing), tokens, model.seconds)


@dataclass(frozen=True)
class _Asking:
    """What decides prompts besides the task; the checkpoints of a run share it."""

    tokenizer_hash: str
    asking_hash: str
    tokenizer: Any = field(compare=False)


@lru_cache(maxsize=64)
def _requests(task: str, split: Split, items: str, decoding: Decoding, asking: _Asking) -> list[Ask]:
    """Build the requests of a split once for all checkpoints; it takes as long as a small engine does."""
    from benchmark.texts.lm import build_requests

    del items  # the digest: other items are other requests
    return build_requests(task, split, decoding, asking.tokenizer, quiet_task_manager())


@cache
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
    """Answer one split at once and store nothing; returns its samples and what the engine says it did."""
    from benchmark.texts.lm import EngineLM, build_requests

    model = EngineLM(engine, tokenizer, decoding.sampling)
    answered = model.answer(build_requests(task, split, decoding, tokenizer, manager))
    effective = {
        **engine.describe(),
        **engine.effective_sampling(decoding.sampling),
        "seconds": round(model.seconds, 3),
    }
    return [sample for sample, _ in answered], effective
