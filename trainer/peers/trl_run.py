"""One run of TRL's GRPOTrainer that leaves our run folder."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer
from transformers.trainer_callback import TrainerCallback

from tasks.files import only_one, sweep
from tasks.grading import RATE_AFTER, check_error_rate, count_errors
from tasks.settings import claim_folder
from trainer import runlog
from trainer.batch import build_batch
from trainer.checkpoint import save_checkpoint, step_folder
from trainer.distributed import device_name, flat
from trainer.memory import peak_memory
from trainer.metrics import rollout_metrics, tree_metrics
from trainer.peers.trl_grpo import TrlConfig
from trainer.peers.trl_recipe import RecipeTrainer, open_trainer
from trainer.policies import policy_folder

Report = Callable[[str], None]


def train(config: TrlConfig, out: Path, report: Report = print) -> None:
    """Train and leave a run folder (docs/contracts.md); a run that was stopped starts over.

    Args:
        config: checked by `trainer.peers.trl_grpo.check_honoured`.
        out: the run folder.
        report: takes one line per step.

    Raises:
        UserError: the folder holds another run, or the policy or task cannot be used.
    """
    claim_folder(out, "config.json", config)
    with only_one(out):
        for folder in (out, out / "checkpoints"):
            sweep(folder)
        _train(config, out, report)


def _train(config: TrlConfig, out: Path, report: Report) -> None:
    if runlog.is_done(out) and step_folder(out, config.steps).exists():
        report(f"{out}: done already, {config.steps} steps")
        return
    if discard(out):
        report(f"{out}: was stopped; TRL cannot go on exactly where it was, so the run starts over")
    torch.set_num_threads(config.threads)
    folder = policy_folder(config.policy)
    trainer = open_trainer(config, folder, report)
    trainer.add_callback(RunLog(config, out, trainer, report))
    device = device_name(trainer.model.device)
    report(f"{config.arm} by TRL, seed {config.seed}: transformers rollouts on {device}")
    with runlog.recorded(out, config, device=device, engine="trl"):
        save_as_it_came(out, 0, trainer, folder)
        trainer.train()


def discard(out: Path) -> bool:
    """Delete what an unfinished run left, its claim aside, so that no old line stands among new ones."""
    logs = ("metrics.jsonl", "timings.jsonl")
    left = [out / name for name in ("checkpoints", *logs) if (out / name).exists()]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return bool(left)


class RunLog(TrainerCallback):  # type: ignore[misc]
    """Write the metrics line and the checkpoint of every step."""

    def __init__(self, config: TrlConfig, out: Path, trainer: RecipeTrainer, report: Report) -> None:
        self.config, self.out, self.trainer, self.report = config, out, trainer, report
        self.record = trainer.record
        self.started = self.step_s = 0.0
        self.errors = 0

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock: decoding happens inside the step."""
        self.started = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop the clock before anything is written."""
        self.step_s = time.perf_counter() - self.started

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        """Take TRL's metrics, once a step and after `on_step_end`; the summary at the end has no loss."""
        if "loss" not in logs:
            return
        step = int(state.global_step)
        loss, norm = float(logs["loss"]), float(logs["grad_norm"])
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise FloatingPointError(f"loss {loss} and gradient norm {norm} in step {step}")
        theirs = {
            f"trl/{name}": value
            for name, value in logs.items()
            if isinstance(value, int | float) and name not in ("loss", "grad_norm", "epoch", "step_time")
        }
        record = self.record
        grades = flat(record.grades)
        check_error_rate(grades, self.errors, (step - 1) * len(grades), at_least=RATE_AFTER)
        self.errors += count_errors(grades)
        metrics = {
            **rollout_metrics(record.groups, record.grades, self.config),
            **tree_metrics(build_batch(record.groups, record.grades, self.config, step)),
            "loss": loss,
            "gradient_norm": norm,
            "time/rollout_s": record.rollout_s,
            "time/grade_s": record.grade_s,
            "time/update_s": self.step_s - record.rollout_s - record.grade_s,
            "time/step_s": self.step_s,
            **peak_memory(),
            **theirs,
        }
        runlog.log_step(self.out, {"step": step, "tokens": record.tokens, **metrics})
        self.report(runlog.console_line(step, self.config.steps, metrics))
        if step % self.config.checkpoint_every == 0:
            save_as_it_came(self.out, step, self.trainer, policy_folder(self.config.policy))


def save_as_it_came(out: Path, step: int, trainer: RecipeTrainer, folder: Path) -> None:
    """Save the weights with settings and tokenizer of the starting policy: TRL writes its own into both."""
    model = trainer.model
    used = model.config, model.generation_config
    model.config, model.generation_config = trainer.came_with
    try:
        save_checkpoint(out, step, model, AutoTokenizer.from_pretrained(folder))
    finally:
        model.config, model.generation_config = used
