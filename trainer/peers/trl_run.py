"""One run of TRL's GRPOTrainer: our policy, problems, prompts and grader in, our run folder out."""

from __future__ import annotations

import copy
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from tasks.catalog import load_problems
from tasks.engines import Completion, Finish
from tasks.engines.rows import end_token_ids
from tasks.prompts import encode_prompt, prompt_text
from tasks.schema import Grade, Problem
from tasks.settings import claim_folder
from trainer import runlog
from trainer.checkpoint import save_checkpoint, step_folder
from trainer.loop import grade_group
from trainer.metrics import MIXED_TOLERANCE
from trainer.peers.lambda_trl import LambdaGRPOTrainer
from trainer.peers.trl_grpo import TrlConfig
from trainer.policies import policy_folder
from trainer.rollouts import RolloutGroup, problems_of_step
from trainer.tree import process_tree, tree_statistics

Report = Callable[[str], None]


@dataclass(kw_only=True)
class StepRecord:
    """What the hooks of one step tell each other."""

    metrics: dict[str, float] = field(default_factory=dict)
    tokens: int = 0
    """Completion tokens generated so far."""
    started: float = 0.0
    rollout_s: float = 0.0


class RecipeTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL is not typed
    """GRPOTrainer that takes the ids of our prompts as they are, and times its own decoding."""

    record: StepRecord

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        # TRL would add special tokens to a text that has them already
        return [list(encode_prompt(prompt, self.processing_class)) for prompt in prompts], None, {}

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = super()._generate_single_turn(*args, **kwargs)
        self.record.rollout_s = time.perf_counter() - started
        return result


class LambdaRecipeTrainer(RecipeTrainer, LambdaGRPOTrainer):
    """The same with 1/|λ| on the token loss."""


class RunLog(TrainerCallback):  # type: ignore[misc]
    """Write the metrics line and the checkpoint of every step."""

    def __init__(self, config: TrlConfig, out: Path, record: StepRecord, save: Callable[[int], None]) -> None:
        self.config, self.out, self.record, self.save = config, out, record, save
        self.report: Report = print

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock: decoding happens inside the step."""
        self.record.started = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop the clock before anything is written."""
        seconds = time.perf_counter() - self.record.started
        self.record.metrics |= {
            "time/rollout_s": self.record.rollout_s,
            "time/update_s": seconds - self.record.rollout_s,
            "time/step_s": seconds,
        }

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
        metrics = {**self.record.metrics, "loss": loss, "gradient_norm": norm, **theirs}
        self.record.metrics = {}
        runlog.append_metrics(self.out, {"step": step, "tokens": self.record.tokens, **metrics})
        self.report(runlog.console_line(step, self.config.steps, metrics))
        if step % self.config.checkpoint_every == 0:
            self.save(step)


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
    if runlog.is_done(out) and step_folder(out, config.steps).exists():
        report(f"{out}: done already, {config.steps} steps")
        return
    if discard(out):
        report(f"{out}: was stopped; TRL cannot go on exactly where it was, so the run starts over")
    torch.set_num_threads(config.threads)
    folder = policy_folder(config.policy)
    trainer, log = open_trainer(config, out, folder)
    log.report = report
    device = str(trainer.model.device)
    report(f"{config.arm} by TRL, seed {config.seed}: transformers rollouts on {device}")
    with runlog.recorded(out, config, device=device, engine="trl"):
        log.save(0)
        trainer.train()


def discard(out: Path) -> bool:
    """Delete what an unfinished run left, its claim aside, so that no old line stands among new ones."""
    left = [out / name for name in ("checkpoints", "state", "metrics.jsonl") if (out / name).exists()]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return bool(left)


def open_trainer(config: TrlConfig, out: Path, folder: Path) -> tuple[RecipeTrainer, RunLog]:
    """Load the policy and put it into TRL's trainer with our problems, grader and optimizer."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = copy.deepcopy((model.config, model.generation_config))
    model.generation_config.eos_token_id = sorted(end_token_ids(folder))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    steps = range(1, config.steps + 1)
    available = load_problems(config.task, "train")
    problems = [problem for step in steps for problem in problems_of_step(available, config, step)]
    record = StepRecord()
    log = RunLog(config, out, record, lambda step: save_as_it_came(out, step, model, settings, folder))
    kind = LambdaRecipeTrainer if config.arm == "lambda_grpo" else RecipeTrainer
    trainer = kind(
        model=model,
        args=grpo_arguments(config, device),
        reward_funcs=grader(config, problems, tokenizer, model.generation_config.eos_token_id, record),
        train_dataset=prompts_in_order(config, problems, tokenizer),
        processing_class=tokenizer,
        optimizers=(optimizer, None),
        callbacks=[log],
    )
    trainer.record = record
    trainer.remove_callback(PrinterCallback)
    return trainer, log


def grpo_arguments(config: TrlConfig, device: torch.device) -> GRPOConfig:
    """Return TRL's arguments: our recipe, and every default of TRL's that would make it another objective."""
    completions = config.problems_per_step * config.group_size
    return GRPOConfig(
        output_dir=tempfile.gettempdir(),  # nothing is written there: save_strategy is "no"
        max_steps=config.steps,
        per_device_train_batch_size=config.micro_batch,
        gradient_accumulation_steps=completions // config.micro_batch,
        num_generations=config.group_size,
        max_completion_length=config.max_new_tokens,
        temperature=config.temperature,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=config.gradient_clip,
        beta=config.kl_beta,
        use_bias_correction_kl=False,  # ours is the plain k3 estimator
        loss_type="dapo",
        scale_rewards="group",
        num_iterations=1,
        shuffle_dataset=False,  # the rows are in our order
        disable_dropout=True,  # as in our update, which runs in eval mode
        gradient_checkpointing=False,  # the same gradient, in less time
        bf16=config.update_dtype == "bfloat16",
        use_cpu=device.type == "cpu",
        dataloader_pin_memory=device.type == "cuda",
        seed=config.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def prompts_in_order(
    config: TrlConfig, problems: Sequence[Problem], tokenizer: PreTrainedTokenizerBase
) -> Dataset:
    """Return one row per group of the whole run; `row` is its place in `problems`."""
    texts = [prompt_text(config.task, problem.question, tokenizer) for problem in problems]
    return Dataset.from_dict({"prompt": texts, "row": list(range(len(texts)))})


def grader(
    config: TrlConfig,
    problems: Sequence[Problem],
    tokenizer: PreTrainedTokenizerBase,
    ends: Sequence[int],
    record: StepRecord,
) -> Callable[..., list[float | None]]:
    """Return TRL's reward function: our grader, which leaves the metrics of the step in `record`."""

    def reward(*, completion_ids: list[list[int]], row: list[int], **others: Any) -> list[float | None]:
        del others
        size = config.group_size
        groups = [
            RolloutGroup(
                problem=problems[row[start]],
                prompt=(),
                completions=[as_completion(ids, ends) for ids in completion_ids[start : start + size]],
            )
            for start in range(0, len(row), size)
        ]
        grades = [grade_group(group, tokenizer) for group in groups]
        record.metrics = rollout_metrics(groups, grades)
        record.tokens += int(record.metrics["step_tokens"])
        return [grade.score for graded in grades for grade in graded]

    return reward


def as_completion(ids: Sequence[int], ends: Sequence[int]) -> Completion:
    """Return TRL's completion as one of our engines would; TRL cuts after the first end-of-sequence token."""
    finish = Finish.STOP if ids[-1] in ends else Finish.LENGTH
    return Completion(tokens=tuple(ids), logprobs=(), finish=finish)


def rollout_metrics(groups: Sequence[RolloutGroup], grades: Sequence[Sequence[Grade]]) -> dict[str, float]:
    """Return what docs/metrics.md says of rollouts, under the same names."""
    rewards = [[grade.score for grade in graded if grade.score is not None] for graded in grades]
    known = [reward for group in rewards for reward in group]
    completions = [completion for group in groups for completion in group.completions]
    lengths = [len(completion.tokens) for completion in completions]
    trees = [
        tree_statistics(process_tree([completion.tokens for completion in group.completions]))
        for group in groups
    ]
    return {
        "reward/mean": float(np.mean(known)) if known else 0.0,
        "reward/known": len(known) / len(completions),
        "reward/mixed_groups": float(
            np.mean([bool(r) and max(r) - min(r) > MIXED_TOLERANCE for r in rewards])
        ),
        "step_tokens": sum(lengths),
        "completion/mean_length": float(np.mean(lengths)),
        "completion/truncated": float(np.mean([c.finish is Finish.LENGTH for c in completions])),
        **{f"tree/{name}": float(np.mean([tree[name] for tree in trees])) for name in trees[0]},
    }


def save_as_it_came(
    out: Path, step: int, model: PreTrainedModel, settings: tuple[Any, Any], folder: Path
) -> None:
    """Save the weights with settings and tokenizer of the starting policy: TRL writes its own into both."""
    used = model.config, model.generation_config
    model.config, model.generation_config = settings
    try:
        save_checkpoint(out, step, model, AutoTokenizer.from_pretrained(folder))
    finally:
        model.config, model.generation_config = used
