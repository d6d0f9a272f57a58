"""The training loop, one page: rollout, grade, batch, update."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from tasks.catalog import find_task, load_problems
from tasks.errors import UserError
from tasks.files import only_one, sweep
from tasks.grading import RATE_AFTER, Asked, check_error_rate, grade_all
from tasks.schema import AnswerKind, Grade, Problem
from tasks.settings import claim_folder
from tasks.traversal import shaped
from trainer import runlog
from trainer.batch import Batch, build_batch
from trainer.checkpoint import save_checkpoint, save_state, saved_step
from trainer.config import TrainConfig
from trainer.distributed import device_name, flat, gather, process_group, rank, share, world_size
from trainer.memory import peak_memory
from trainer.metrics import step_metrics
from trainer.open_policy import Policy, open_policy
from trainer.replay import Graded, check_recording, read_rollouts, write_rollouts
from trainer.rollouts import RolloutGroup, fitting, problems_of_step, repeats, rollout
from trainer.schedule import learning_rate
from trainer.sync import sync_weights
from trainer.trackers import check_trackers, mirrors
from trainer.update import UpdateResult, update


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
        InfrastructureError: the disk is full, or the grader failed on more than 0.5 % of what it was given;
            the last checkpoint is whole.
    """
    check_trackers(track)
    if config.replay:
        check_recording(Path(config.replay), config, range(1, config.steps + 1))
    with ExitStack() as stack:
        stack.enter_context(process_group())
        if config.problems_per_step % world_size():
            raise UserError(
                f"problems_per_step={config.problems_per_step} over {world_size()} processes: "
                "a group never spans two; make it a multiple"
            )
        if rank() == 0:
            claim_folder(out, "config.json", config)
            stack.enter_context(only_one(out))
            for folder in (out, *(out / name for name in ("checkpoints", "state", "rollouts"))):
                sweep(folder)
        gather(None)  # nobody reads the folder before it is swept
        _train(config, out, report if rank() == 0 else lambda line: None, track)


def _train(config: TrainConfig, out: Path, report: Callable[[str], None], track: Sequence[str]) -> None:
    done, tokens = saved_step(out)
    if done == config.steps:
        if rank() == 0:
            runlog.record_done(out)
        report(f"{out}: done already, {done} steps")
        return
    if done:
        runlog.check_processes(out, world_size())
    torch.set_num_threads(config.threads)
    policy = open_policy(config, out, done, report)
    problems = load_problems(config.task, "train")
    if not problems:
        raise UserError(f"task={config.task!r}: its train split is empty; fetch the whole set")
    problems = fitting(problems, policy.tokenizer, config.task, policy.longest_prompt, report)
    # a copy: the run's hash is that of its config.json
    settled = config.model_copy(update={"forward": policy.forward})
    device, engine = device_name(policy.model.device), policy.engine.name
    report(f"{config.arm}, seed {config.seed}: {engine} rollouts on {device}, from step {done}")
    with ExitStack() as stack:
        stack.callback(policy.engine.close)
        if rank() == 0:
            manifest = runlog.recorded(out, config, device=device, engine=engine, processes=world_size())
            stack.enter_context(manifest)
            runlog.cut_logs(out, done)
        errors = gather(runlog.logged_errors(out) if rank() == 0 else 0)[0]
        mirror = stack.enter_context(mirrors(track if rank() == 0 else (), out, config, done))
        if done == 0:
            save_checkpoint(out, 0, policy.model, policy.tokenizer)
        for step in range(done + 1, config.steps + 1):
            metrics = train_step(policy, problems, settled, step, out, errors)
            tokens += int(metrics["step_tokens"])
            errors += int(metrics["reward/errors"])
            if rank() == 0:
                runlog.log_step(out, {"step": step, "tokens": tokens, **metrics})
            mirror(step, metrics)
            report(runlog.console_line(step, config.steps, metrics))
            if step % config.checkpoint_every == 0:
                save_checkpoint(out, step, policy.model, policy.tokenizer)
                save_state(out, step, tokens, policy.model, policy.optimizer)
        report(f"done: {config.steps} steps, {tokens} completion tokens; {out / 'checkpoints'}")


def train_step(
    policy: Policy, problems: list[Problem], config: TrainConfig, step: int, out: Path, errors: int = 0
) -> dict[str, float]:
    """Take one optimizer step and return its metrics; `problems` are all of the train split.

    Each process samples and grades its share of the groups; the metrics are those of all groups. `errors` are
    those of the grader in earlier steps, which count with those of this one.
    """
    started = time.perf_counter()
    if config.replay:
        replayed = share(read_rollouts(Path(config.replay), config, step, problems))
        groups, grades = [one.group for one in replayed], [one.grades for one in replayed]
        sampled = time.perf_counter()
    else:
        asked = problems_of_step(problems, config, step)
        groups = rollout(policy.engine, policy.tokenizer, share(asked), config, step, share(repeats(asked)))
        sampled = time.perf_counter()
        found = grade_groups(groups, policy.tokenizer, find_task(config.task).answer)
        grades = shaped(config.task, found)
    graded = time.perf_counter()
    batch = build_batch(groups, grades, config, step)
    rate = learning_rate(config, step)
    for parameters in policy.optimizer.param_groups:
        parameters["lr"] = rate
    result = update(policy.model, policy.reference, policy.optimizer, batch, config)
    updated = time.perf_counter()
    gap = sync_weights(policy, config.dtype)
    synced = time.perf_counter()
    groups, grades, batch, result = whole_step(groups, grades, batch, result)
    graded = (step - 1) * config.problems_per_step * config.group_size
    check_error_rate(flat(grades), errors, graded, at_least=0 if step == config.steps else RATE_AFTER)
    if config.record_rollouts and rank() == 0:
        write_rollouts(out, config, step, [Graded(*pair) for pair in zip(groups, grades, strict=True)])
    metrics = step_metrics(groups, grades, batch, result, config)
    return {
        **metrics,
        "learning_rate": rate,
        "check/weight_sync_gap": gap,
        "time/rollout_s": sampled - started,
        "time/grade_s": graded - sampled,
        "time/update_s": updated - graded,
        "time/sync_s": synced - updated,
        "time/step_s": time.perf_counter() - started,
        **peak_memory(),
    }


def whole_step(
    groups: list[RolloutGroup], grades: list[list[Grade]], batch: Batch, result: UpdateResult
) -> tuple[list[RolloutGroup], list[list[Grade]], Batch, UpdateResult]:
    """Put what the processes hold together, in the order of problems."""
    parts = gather((groups, grades, batch.groups, result))
    return (
        flat(part[0] for part in parts),
        flat(part[1] for part in parts),
        Batch(groups=flat(part[2] for part in parts), normaliser=batch.normaliser),
        UpdateResult.merged([part[3] for part in parts]),
    )


def grade_groups(
    groups: Sequence[RolloutGroup], tokenizer: PreTrainedTokenizerBase, kind: AnswerKind
) -> list[list[Grade]]:
    """Grade the completions of every group with the function that the benchmark calls too."""
    grades = iter(
        grade_all(
            [
                Asked(
                    tokenizer.decode(list(completion.tokens), skip_special_tokens=True),
                    group.problem.gold,
                    completion.finish,
                    kind,
                )
                for group in groups
                for completion in group.completions
            ]
        )
    )
    return [[next(grades) for _ in group.completions] for group in groups]
