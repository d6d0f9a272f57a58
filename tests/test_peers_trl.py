"""Agreement with TRL's GRPOTrainer, which we did not write: the same ids and rewards, the same gradient.

TRL runs its own whole step: sampler, rewards to advantages, shuffle, micro-batches, log-probabilities,
loss, backward. Only the completions are given (`rollout_func`); the gradient is read before TRL's optimizer
takes its step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tasks.engines import Completion, Finish
from tasks.schema import Grade, Problem, Status
from trainer.advantages import group_advantages
from trainer.arms import ARMS
from trainer.batch import Batch, build_batch
from trainer.config import TrainConfig
from trainer.rollouts import RolloutGroup
from trainer.tree import process_set_sizes, process_tree
from trainer.update import update

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]  # TRL's own warnings are not ours

TOLERANCE = 1e-5
"""Of |ours - TRL's| / |TRL's| in float32; TRL's output layer adds up in float32 even for a float64 model."""

GROUPS, MEMBERS, LONGEST = 3, 4, 9
REWARD = {Status.CORRECT: 1.0, Status.WRONG: 0.0, Status.ERROR: None}
EOS = 2


class Step(NamedTuple):
    """What one optimizer step came to."""

    loss: float
    gradient: torch.Tensor


@pytest.fixture(scope="module")
def groups() -> list[RolloutGroup]:
    """Prompts and completions of many lengths; of two letters, so that prefixes are shared."""
    rng = np.random.default_rng(11)
    made = []
    for number in range(GROUPS):
        prompt = tuple(int(token) for token in rng.integers(3, 19, size=2 + 3 * number))
        completions = []
        for _ in range(MEMBERS):
            tokens = [int(token) for token in rng.integers(3, 5, size=rng.integers(1, LONGEST))]
            ended = len(tokens) < LONGEST - 2
            completions.append(
                Completion(
                    tokens=tuple([*tokens, EOS] if ended else tokens),
                    logprobs=(),
                    finish=Finish.STOP if ended else Finish.LENGTH,
                )
            )
        problem = Problem(id=f"made/{number}", question="", gold="")
        made.append(RolloutGroup(problem=problem, prompt=prompt, completions=completions))
    return made


@pytest.fixture(scope="module")
def grades() -> list[list[Grade]]:
    """A mixed group, a group that the grader cannot tell all of, a group of equal rewards."""
    right, wrong, unknown = Status.CORRECT, Status.WRONG, Status.ERROR
    statuses = [[right, wrong, wrong, wrong], [right, unknown, wrong, right], [wrong] * MEMBERS]
    return [[Grade(status=status, answer=None) for status in group] for group in statuses]


@pytest.fixture
def reference(tiny: ModuleType, tmp_path: Path) -> Path:
    """Another policy than `tiny_policy`: the reference of the KL term, or the policy that sampled."""
    return tiny.build_tiny(tmp_path / "reference", seed=1)


def config(**changes: Any) -> TrainConfig:
    values = {
        "policy": "embedded",
        "task": "add2",
        "arm": "grpo",
        "steps": 1,
        "problems_per_step": GROUPS,
        "group_size": MEMBERS,
        "max_new_tokens": LONGEST,
        "learning_rate": 0.0,
        "micro_batch": GROUPS * MEMBERS,
        "checkpoint_every": 1,
        "gradient_clip": 1e9,
    }
    return TrainConfig.model_validate(values | changes)


def gradient(model: PreTrainedModel) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).clone()


def load(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def ours(folder: Path, reference: Path, batch: Batch, settings: TrainConfig) -> Step:
    model = load(folder)
    other = load(reference) if settings.kl_beta else None
    result = update(model, other, torch.optim.SGD(model.parameters(), lr=0.0), batch, settings)
    return Step(result.loss, gradient(model))


def trls(
    folder: Path,
    reference: Path,
    groups: Sequence[RolloutGroup],
    grades: Sequence[Sequence[Grade]],
    *,
    kind: type | None = None,
    micro_batch: int = GROUPS * MEMBERS,
    **changes: Any,
) -> Step:
    """Let TRL take one step; `kind` is a subclass of GRPOTrainer, `changes` go to its GRPOConfig."""
    from transformers.trainer_callback import PrinterCallback, TrainerCallback
    from trl import GRPOTrainer

    trainer = make_trainer(kind or GRPOTrainer, folder, groups, grades, micro_batch=micro_batch, **changes)
    if trainer.ref_model is not None:
        trainer.ref_model.load_state_dict(load(reference).state_dict())
    seen: dict[str, Any] = {}

    class Keep(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            seen["gradient"] = gradient(trainer.model)

        def on_log(self, *args: Any, logs: dict[str, float], **kwargs: Any) -> None:
            seen.setdefault("logs", logs)

    trainer.add_callback(Keep())
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return Step(seen["logs"]["loss"], seen["gradient"])


def make_trainer(
    kind: Any,
    folder: Path,
    groups: Sequence[RolloutGroup],
    grades: Sequence[Sequence[Grade]],
    *,
    micro_batch: int,
    **changes: Any,
) -> Any:
    """Build the trainer around given completions and rewards."""
    from datasets import Dataset
    from trl import GRPOConfig

    rows = [(group.prompt, completion.tokens) for group in groups for completion in group.completions]
    rewards = [REWARD[grade.status] for graded in grades for grade in graded]

    def given(prompts: list[str], trainer: Any) -> dict[str, Any]:
        assert [int(prompt) for prompt in prompts] == [at // MEMBERS for at in range(len(rows))]
        return {
            "prompt_ids": [list(prompt) for prompt, _ in rows],
            "completion_ids": [list(tokens) for _, tokens in rows],
            "logprobs": None,
        }

    values = {
        "output_dir": str(folder.parent / "trl"),
        "max_steps": 1,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": len(rows) // micro_batch,
        "num_generations": MEMBERS,
        "max_completion_length": LONGEST,
        "max_grad_norm": 0.0,  # no clipping: the gradient itself is compared
        "use_bias_correction_kl": False,
        "gradient_checkpointing": False,
        "shuffle_dataset": False,
        "bf16": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
    }
    model = load(folder)
    return kind(
        model=model,
        args=GRPOConfig(**(values | changes)),
        reward_funcs=lambda **_: rewards,
        train_dataset=Dataset.from_dict({"prompt": [str(at) for at in range(len(groups))]}),
        processing_class=AutoTokenizer.from_pretrained(folder),
        rollout_func=given,
        optimizers=(torch.optim.SGD(model.parameters(), lr=0.0), None),
    )


def assert_agree(one: Step, other: Step) -> None:
    gap = ((one.gradient - other.gradient).norm() / other.gradient.norm()).item()
    assert other.gradient.norm() > 1e-3  # there is something to agree on
    assert gap < TOLERANCE, f"gradients differ by {gap:.1e}"
    assert one.loss == pytest.approx(other.loss, rel=TOLERANCE, abs=1e-7)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("micro_batch", [12, 3])
def test_grpo_is_trls_dapo(
    tiny_policy: Path,
    reference: Path,
    groups: list[RolloutGroup],
    grades: list[list[Grade]],
    beta: float,
    temperature: float,
    micro_batch: int,
) -> None:
    batch = build_batch(groups, grades, ARMS["grpo"])
    settings = config(kl_beta=beta, temperature=temperature)
    peer = trls(
        tiny_policy,
        reference,
        groups,
        grades,
        loss_type="dapo",
        beta=beta,
        temperature=temperature,
        micro_batch=micro_batch,
    )
    assert_agree(ours(tiny_policy, reference, batch, settings), peer)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("micro_batch", [12, 3])
def test_lambda_grpo_is_trl_with_our_weights(
    tiny_policy: Path,
    reference: Path,
    groups: list[RolloutGroup],
    grades: list[list[Grade]],
    beta: float,
    temperature: float,
    micro_batch: int,
) -> None:
    from trainer.peers.lambda_trl import LambdaGRPOTrainer

    batch = build_batch(groups, grades, ARMS["lambda_grpo"])
    settings = config(arm="lambda_grpo", kl_beta=beta, temperature=temperature)
    peer = trls(
        tiny_policy,
        reference,
        groups,
        grades,
        kind=LambdaGRPOTrainer,
        beta=beta,
        temperature=temperature,
        micro_batch=micro_batch,
    )
    assert_agree(ours(tiny_policy, reference, batch, settings), peer)


def test_the_weights_matter_here(groups: list[RolloutGroup]) -> None:
    """Else the two tests above would be one."""
    sizes = [process_set_sizes(process_tree([c.tokens for c in group.completions])) for group in groups]
    assert {size for group in sizes for row in group for size in row.tolist()} >= {1, 2, 3}


def test_advantages_are_trls(
    tiny_policy: Path, groups: list[RolloutGroup], grades: list[list[Grade]]
) -> None:
    from trl import GRPOTrainer

    trainer = make_trainer(GRPOTrainer, tiny_policy, groups, grades, micro_batch=12)
    inputs = [{"prompt": str(at // MEMBERS)} for at in range(GROUPS * MEMBERS)]
    theirs = trainer._generate_and_score_completions(inputs)["advantages"].numpy()
    expected = np.concatenate([group_advantages([grade.score for grade in graded]) for graded in grades])
    assert theirs == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert np.unique(expected.round(6)).size > 4
    assert not math.isclose(expected[0], 1.5, rel_tol=1e-5)  # the 1e-4 beside the deviation is in both
