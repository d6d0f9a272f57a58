"""Mirrors of the metrics in TensorBoard or Weights & Biases; the record is RUN/metrics.jsonl.

A mirror is named on the command line, not in the configuration: it changes no number.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

from tasks.errors import UserError, closest
from tasks.files import write_text
from trainer.config import TrainConfig

Mirror = Callable[[int, Mapping[str, float]], None]
"""Takes the number of a step and its metrics and timings."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse an unknown mirror or one whose package is not installed, without importing the package.

    Raises:
        UserError: names the extra to install.
    """
    for name in names:
        if name not in OPENERS:
            raise UserError(f"tracker {name!r}: there is none of that name; {closest(name, OPENERS)}")
        if importlib.util.find_spec(name) is None:
            raise UserError(f"tracker {name!r}: not installed; run `pip install -e .[{name}]`")


@contextmanager
def mirrors(names: Sequence[str], out: Path, config: TrainConfig, done: int) -> Iterator[Mirror]:
    """Open the named mirrors and yield a function that hands a step to each of them.

    Args:
        names: keys of `OPENERS`.
        out: the run folder; each mirror keeps its files in a folder of its own name there.
        config: shown beside the curves.
        done: the step that the run goes on from. No later step stands in a mirror twice, though a run that
            was killed had logged it before.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(OPENERS[name](out, config, done)) for name in dict.fromkeys(names)]

        def log(step: int, values: Mapping[str, float]) -> None:
            for mirror in opened:
                mirror(step, values)

        yield log


@contextmanager
def _tensorboard(out: Path, config: TrainConfig, done: int) -> Iterator[Mirror]:
    from torch.utils.tensorboard import SummaryWriter

    # purge_step makes TensorBoard forget what an earlier attempt logged from that step on
    with SummaryWriter(log_dir=str(out / "tensorboard"), purge_step=done + 1) as writer:
        if done == 0:
            writer.add_text("config", f"```json\n{config.model_dump_json(indent=1)}\n```", 0)

        def log(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        yield log


@contextmanager
def _wandb(out: Path, config: TrainConfig, done: int) -> Iterator[Mirror]:
    import wandb

    del done  # W&B cannot take a step back, so what it has is remembered here instead
    folder = out / "wandb"
    identity = folder / "run_id"
    if not identity.exists():
        write_text(identity, f"{uuid4().hex}\n")
    run = wandb.init(
        project="lambda-grpo-bench",
        name=str(out),
        id=identity.read_text(encoding="utf-8").strip(),
        resume="allow",
        dir=str(out),
        mode=os.environ.get("WANDB_MODE", "offline"),
        config=config.model_dump(mode="json"),
    )
    try:
        yield partial(_log_once, run.log, folder / "last_step")
    finally:
        run.finish()


def _log_once(send: Callable[..., None], bookmark: Path, step: int, values: Mapping[str, float]) -> None:
    """Hand a step on unless it was handed on before; a resumed run repeats steps with the same numbers."""
    last = int(bookmark.read_text(encoding="utf-8")) if bookmark.exists() else 0
    if step > last:
        write_text(bookmark, f"{step}\n")  # first: a kill in between loses a step there, and doubles none
        send(dict(values), step=step)


OPENERS = {"tensorboard": _tensorboard, "wandb": _wandb}
"""Name of a mirror, of its package and of the extra that installs it -> how it is opened."""
