"""The training loop, one page: rollout, grade, batch, update."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tasks.catalog import load_problems
from tasks.checkpoints import check_tokenizer, inspect_checkpoint
from tasks.engines import Engine, open_engine
from tasks.engines.proof import probe_prompts
from tasks.files import only_one, sweep
from tasks.grading import grade
from tasks.schema import Grade, Problem
from tasks.settings import claim_folder
from trainer import runlog
from trainer.batch import build_batch
from trainer.checkpoint import load_state, save_checkpoint, save_state, saved_step, step_folder
from trainer.config import TrainConfig
from trainer.logprobs import settle_forward
from trainer.memory import peak_memory
from trainer.metrics import step_metrics
from trainer.policies import policy_folder
from trainer.replay import Graded, check_recording, read_rollouts, write_rollouts
from trainer.rollouts import RolloutGroup, problems_of_step, rollout
from trainer.sync import sync_weights
from trainer.trackers import check_trackers, mirrors
from trainer.update import update

ROLLOUT_MEMORY_SHARE = 0.3
"""Of a GPU's memory that a vLLM engine takes when it shares the GPU with the trainer."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The model in training with everything that belongs to it."""

    model: PreTrainedModel
    reference: PreTrainedModel | None
    """The frozen starting policy; None when no KL term asks for it."""
    tokenizer: PreTrainedTokenizerBase
    optimizer: torch.optim.Optimizer
    engine: Engine
    probes: list[list[int]]
    """Prompts on which engine and model are compared after every update."""


def train(
    config: TrainConfig, out: Path, report: Callable[[str], None] = print, track: Sequence[str] = ()
) -> None:
    """Train one arm and leave a run folder (`trainer.runlog`); a run that was stopped goes on where it was.

    Args:
        config: what to train.
        out: the run folder.
        report: takes one line per step.
        track: names of mirrors of the metrics (`trainer.trackers`); they change no number.

    Raises:
        UserError: the folder holds another run, or the policy, task or recording cannot be used.
        InfrastructureError: the disk is full; the last checkpoint is whole.
    """
    check_trackers(track)
    if config.replay:
        check_recording(Path(config.replay), config, range(1, config.steps + 1))
    claim_folder(out, "config.json", config)
    with only_one(out):
        for folder in (out, *(out / name for name in ("checkpoints", "state", "rollouts"))):
            sweep(folder)
        _train(config, out, report, track)


def _train(config: TrainConfig, out: Path, report: Callable[[str], None], track: Sequence[str]) -> None:
    done, tokens = saved_step(out)
    if done == config.steps:
        runlog.record_done(out)
        report(f"{out}: done already, {done} steps")
        return
    torch.set_num_threads(config.threads)
    policy = open_policy(config, out, done)
    forward = settle_forward(policy.model, config.forward, report)
    if policy.reference is not None:
        settle_forward(policy.reference, forward, report)
    settled = config.model_copy(update={"forward": forward})  # the hash of a run is that of its config.json
    device, engine = str(policy.model.device), policy.engine.name
    report(f"{config.arm}, seed {config.seed}: {engine} rollouts on {device}, from step {done}")
    with (
        runlog.recorded(out, config, device=device, engine=engine),
        mirrors(track, out, config, done) as mirror,
    ):
        runlog.cut_logs(out, done)
        if done == 0:
            save_checkpoint(out, 0, policy.model, policy.tokenizer)
        problems = load_problems(config.task, "train")
        for step in range(done + 1, config.steps + 1):
            metrics = train_step(policy, problems, settled, step, out)
            tokens += int(metrics["step_tokens"])
            runlog.log_step(out, {"step": step, "tokens": tokens, **metrics})
            mirror(step, metrics)
            report(runlog.console_line(step, config.steps, metrics))
            if step % config.checkpoint_every == 0:
                save_checkpoint(out, step, policy.model, policy.tokenizer)
                save_state(out, step, tokens, policy.model, policy.optimizer)
        policy.engine.close()


def train_step(
    policy: Policy, problems: list[Problem], config: TrainConfig, step: int, out: Path
) -> dict[str, float]:
    """Take one optimizer step and return its metrics; `problems` are all of the train split."""
    started = time.perf_counter()
    if config.replay:
        replayed = read_rollouts(Path(config.replay), config, step, problems)
        groups, grades = [one.group for one in replayed], [one.grades for one in replayed]
        sampled = time.perf_counter()
    else:
        groups = rollout(
            policy.engine, policy.tokenizer, problems_of_step(problems, config, step), config, step
        )
        sampled = time.perf_counter()
        grades = [grade_group(group, policy.tokenizer) for group in groups]
    batch = build_batch(groups, grades, config, step)
    result = update(policy.model, policy.reference, policy.optimizer, batch, config)
    updated = time.perf_counter()
    gap = sync_weights(policy.model, policy.engine, policy.probes, config.dtype)
    ended = time.perf_counter()
    if config.record_rollouts:
        write_rollouts(out, config, step, [Graded(*pair) for pair in zip(groups, grades, strict=True)])
    return {
        **step_metrics(groups, grades, batch, result, config),
        "check/weight_sync_gap": gap,
        "time/rollout_s": sampled - started,
        "time/update_s": updated - sampled,
        "time/sync_s": ended - updated,
        "time/step_s": ended - started,
        **peak_memory(),
    }


def open_policy(config: TrainConfig, out: Path, step: int) -> Policy:
    """Load the weights of `step` with their optimizer state and start the rollout engine on them."""
    base = policy_folder(config.policy)
    folder = step_folder(out, step) if step else base
    check_tokenizer(inspect_checkpoint(folder), inspect_checkpoint(base).tokenizer_hash, str(base))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # eval mode throughout: dropout in the update would make it another policy than the one that was sampled
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    reference = None
    if config.kl_beta > 0:
        reference = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).to(device).eval()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    if step:
        load_state(out, model, optimizer)
    engine = open_engine(
        config.engine,
        folder,
        dtype=config.dtype,
        max_model_len=min(model.config.max_position_embeddings, 2048),
        max_sequences=config.problems_per_step * config.group_size,
        model=model,
        gpu_memory_share=ROLLOUT_MEMORY_SHARE,
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Policy(
        model=model,
        reference=reference,
        tokenizer=tokenizer,
        optimizer=optimizer,
        engine=engine,
        probes=probe_prompts(folder, longest=32),
    )


def grade_group(group: RolloutGroup, tokenizer: PreTrainedTokenizerBase) -> list[Grade]:
    """Grade the completions of one group with the function that the benchmark calls too."""
    return [
        grade(
            tokenizer.decode(list(completion.tokens), skip_special_tokens=True),
            group.problem.gold,
            completion.finish,
        )
        for completion in group.completions
    ]
