"""One batch through TRL's own step and through our update: what came of the loss, the gradient, the clipping.

TRL runs all of its step: sampler, rewards to advantages, shuffle, micro-batches, log-probabilities, loss,
backward. Only the completions are given (`rollout_func`); the gradient is read before its optimizer steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tasks.engines import Completion, Finish
from tasks.schema import Grade, Problem, Status
from trainer.batch import build_batch
from trainer.config import TrainConfig
from trainer.packing import use_tree_attention
from trainer.rollouts import RolloutGroup
from trainer.update import update

GROUPS, MEMBERS, LONGEST = 3, 4, 9
ROWS = GROUPS * MEMBERS
EOS = 2

THEIR_NAMES: dict[str, dict[str, Any]] = {
    "grpo": {"loss_type": "dapo"},
    "grpo_seq_mean": {"loss_type": "grpo"},
    "dr_grpo": {"loss_type": "dr_grpo", "scale_rewards": "none"},
    "lambda_grpo": {"loss_type": "dapo"},
}
"""Our arm -> what TRL calls it; λ-GRPO is trainer/peers/lambda_trl.py."""


class Given(NamedTuple):
    """What both sides are given."""

    policy: Path
    reference: Path
    groups: list[RolloutGroup]
    grades: list[list[Grade]]


class Step(NamedTuple):
    """What the updates on one batch came to: the loss of the first, the gradient of the last."""

    loss: float
    gradient: torch.Tensor
    clipped: tuple[float, float]
    """Share of tokens that the lower and the upper clip cut off, over all updates."""


def given(policy: Path, folder: Path) -> Given:
    """Make prompts and completions of many lengths, of two letters, so that prefixes are shared.

    There is a mixed group, a group that the grader cannot tell all of, and a group of equal rewards.
    """
    rng = np.random.default_rng(11)
    groups = []
    for number in range(GROUPS):
        prompt = tuple(rng.integers(3, 19, size=2 + 3 * number).tolist())
        completions = []
        for _ in range(MEMBERS):
            tokens = rng.integers(3, 5, size=rng.integers(1, LONGEST)).tolist()
            ended = len(tokens) < LONGEST - 2
            tokens = [*tokens, EOS] if ended else tokens
            completions.append(
                Completion(
                    tokens=tuple(tokens),
                    logprobs=(0.0,) * len(tokens),
                    finish=Finish.STOP if ended else Finish.LENGTH,
                )
            )
        problem = Problem(id=f"made/{number}", question="", gold="")
        groups.append(RolloutGroup(problem=problem, prompt=prompt, completions=completions))
    right, wrong, unknown = Status.CORRECT, Status.WRONG, Status.ERROR
    statuses = [[right, wrong, wrong, wrong], [right, unknown, wrong, right], [wrong] * MEMBERS]
    grades = [[Grade(status=status, answer=None) for status in group] for group in statuses]
    return Given(policy, nearby(policy, folder / "reference"), groups, grades)


def nearby(folder: Path, new: Path) -> Path:
    """Write a policy near another one, as a reference is: neither term of the loss drowns the other."""
    model = load(folder)
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=noise)
    model.save_pretrained(new)
    return new


def load(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def gradient(model: PreTrainedModel) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).clone()


def make_config(**changes: Any) -> TrainConfig:
    values = {
        "policy": "embedded",
        "task": "add2",
        "steps": 1,
        "problems_per_step": GROUPS,
        "group_size": MEMBERS,
        "max_new_tokens": LONGEST,
        "learning_rate": 0.0,
        "micro_batch": ROWS,
        "checkpoint_every": 1,
        "gradient_clip": 1e9,
        "forward": "padded",
    }
    return TrainConfig.model_validate(values | changes)


def ours(given: Given, config: TrainConfig) -> Step:
    """Take our updates."""
    batch = build_batch(given.groups, given.grades, config, step=1)
    model = load(given.policy)
    reference = load(given.reference) if config.kl_beta else None
    for one in (model, reference):
        if one is not None and config.forward == "tree":
            use_tree_attention(one)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.learning_rate)
    result = update(model, reference, optimizer, batch, config)
    return Step(result.loss, gradient(model), (result.clipped_low, result.clipped_high))


def trls(given: Given, config: TrainConfig, **changes: Any) -> Step:
    """Take TRL's for the same recipe; `changes` go to its GRPOConfig."""
    from transformers.trainer_callback import PrinterCallback, TrainerCallback

    trainer = make_trainer(given, config, **changes)
    if trainer.ref_model is not None:
        trainer.ref_model.load_state_dict(load(given.reference).state_dict())
    seen: list[torch.Tensor] = []
    logged: list[dict[str, float]] = []

    class Keep(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            seen.append(gradient(trainer.model))

        def on_log(self, *args: Any, logs: dict[str, float], **kwargs: Any) -> None:
            logged.append(logs)

    trainer.add_callback(Keep())
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    lines = [line for line in logged if "loss" in line]
    assert len(lines) == len(seen) == config.updates_per_batch
    low, high = (
        float(np.mean([line[f"clip_ratio/{one}_mean"] for line in lines])) for one in ("low", "high")
    )
    return Step(lines[0]["loss"], seen[-1], (low, high))


def make_trainer(given: Given, config: TrainConfig, **changes: Any) -> Any:
    """Build TRL's trainer around the given completions and rewards."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from trainer.peers.lambda_trl import LambdaGRPOTrainer

    rows = [(group.prompt, completion.tokens) for group in given.groups for completion in group.completions]
    rewards = [grade.score for graded in given.grades for grade in graded]

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        assert [int(prompt) for prompt in prompts] == [at // MEMBERS for at in range(ROWS)]
        return {
            "prompt_ids": [list(prompt) for prompt, _ in rows],
            "completion_ids": [list(tokens) for _, tokens in rows],
            "logprobs": None,
        }

    arguments = {
        "output_dir": str(given.reference.parent / "trl"),
        "max_steps": config.updates_per_batch,
        "num_iterations": config.updates_per_batch,
        "per_device_train_batch_size": config.micro_batch,
        "gradient_accumulation_steps": ROWS // config.micro_batch,
        "num_generations": MEMBERS,
        "max_completion_length": LONGEST,
        "temperature": config.temperature,
        "beta": config.kl_beta,
        "epsilon": config.clip_low,
        "epsilon_high": config.clip_high,
        "max_grad_norm": 0.0,  # no clipping: the gradient itself is compared
        "use_bias_correction_kl": False,
        "gradient_checkpointing": False,
        "shuffle_dataset": False,
        "lr_scheduler_type": "constant",
        "bf16": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
    }
    model = load(given.policy)
    kind = LambdaGRPOTrainer if config.arm == "lambda_grpo" else GRPOTrainer
    return kind(
        model=model,
        args=GRPOConfig(**(arguments | THEIR_NAMES[config.arm] | changes)),
        reward_funcs=lambda **_: rewards,
        train_dataset=Dataset.from_dict({"prompt": [str(at) for at in range(GROUPS)]}),
        processing_class=AutoTokenizer.from_pretrained(given.policy),
        rollout_func=rollout,
        optimizers=(torch.optim.SGD(model.parameters(), lr=config.learning_rate), None),
    )
