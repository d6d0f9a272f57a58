"""Agreement with TRL's GRPOTrainer, which we did not write: the same ids and rewards, the same gradient."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from trainer.advantages import group_advantages
from trainer.tree import process_set_sizes, process_tree

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]  # TRL's own warnings are not ours

TOLERANCE = 1e-5
"""Of |ours - TRL's| / |TRL's| in float32; TRL's output layer adds up in float32 even for a float64 model."""

ARMS = ["grpo", "grpo_seq_mean", "dr_grpo", "lambda_grpo"]
SPLITS = [(12, "tree"), (3, "padded")]
"""Micro-batch of both sides, and our forward."""

RATE = 0.005
"""Of plain gradient descent where two updates are taken: some ratios have left the range after the first."""


@pytest.fixture(scope="module")
def given(trl_step: ModuleType, tiny_policy: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trl_step.given(tiny_policy, tmp_path_factory.mktemp("peers"))


def assert_agree(one: Any, other: Any) -> None:
    gap = ((one.gradient - other.gradient).norm() / other.gradient.norm()).item()
    assert other.gradient.norm() > 1e-3  # there is something to agree on
    assert gap < TOLERANCE, f"gradients differ by {gap:.1e}"
    assert one.loss == pytest.approx(other.loss, rel=TOLERANCE, abs=1e-7)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize(("micro_batch", "forward"), SPLITS)
@pytest.mark.parametrize("arm", ARMS)
def test_one_update(
    trl_step: ModuleType,
    given: Any,
    arm: str,
    micro_batch: int,
    forward: str,
    beta: float,
    temperature: float,
) -> None:
    config = trl_step.make_config(
        arm=arm, kl_beta=beta, temperature=temperature, micro_batch=micro_batch, forward=forward
    )
    assert_agree(trl_step.ours(given, config), trl_step.trls(given, config))


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize(("micro_batch", "forward"), SPLITS)
@pytest.mark.parametrize("arm", ARMS)
def test_two_updates_on_one_batch_with_clipping(
    trl_step: ModuleType, given: Any, arm: str, micro_batch: int, forward: str, beta: float
) -> None:
    """The gradient compared is that of the second update, where some ratios have left the range."""
    config = trl_step.make_config(
        arm=arm,
        kl_beta=beta,
        temperature=0.7,
        learning_rate=RATE,
        updates_per_batch=2,
        clip_low=0.2,
        clip_high=0.28,
        micro_batch=micro_batch,
        forward=forward,
    )
    mine, theirs = trl_step.ours(given, config), trl_step.trls(given, config)
    assert min(mine.clipped) > 0.02
    if arm != "lambda_grpo" and micro_batch == trl_step.ROWS:
        assert mine.clipped == pytest.approx(theirs.clipped, abs=1e-6)  # elsewhere TRL's are means of means
    assert_agree(mine, theirs)


def test_masked_completions(trl_step: ModuleType, given: Any) -> None:
    """Completions that were cut off leave the loss and its normaliser."""
    kept, masked = (
        trl_step.make_config(arm="grpo", truncated=how, kl_beta=0.04) for how in ("kept", "masked")
    )
    theirs = trl_step.trls(given, masked, mask_truncated_completions=True)
    assert_agree(trl_step.ours(given, masked), theirs)
    other = trl_step.ours(given, kept)
    assert (other.gradient - theirs.gradient).norm() > 0.01 * theirs.gradient.norm()  # some are cut off here


def test_the_weights_matter_here(given: Any) -> None:
    """Else λ-GRPO would be GRPO."""
    sizes = [process_set_sizes(process_tree([c.tokens for c in group.completions])) for group in given.groups]
    assert {size for group in sizes for row in group for size in row.tolist()} >= {1, 2, 3}


@pytest.mark.parametrize("arm", ["grpo", "dr_grpo"])
def test_advantages(trl_step: ModuleType, given: Any, arm: str) -> None:
    trainer = trl_step.make_trainer(given, trl_step.make_config(arm=arm))
    inputs = [{"prompt": str(at // trl_step.MEMBERS)} for at in range(trl_step.ROWS)]
    theirs = trainer._generate_and_score_completions(inputs)["advantages"].numpy()
    rewards = [[grade.score for grade in graded] for graded in given.grades]
    ours = np.concatenate([group_advantages(group, standardised=arm == "grpo") for group in rewards])
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-7)
    assert len(np.unique(ours.round(6))) == 5
    assert not math.isclose(ours[0], 1.5, rel_tol=1e-5)  # the 1e-4 beside the deviation is in both
