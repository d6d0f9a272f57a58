"""What one step is described by. docs/metrics.md explains every name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.engines import Finish
from tasks.schema import Grade, Status
from trainer.batch import Batch
from trainer.identities import prefix_disagreement
from trainer.rollouts import RolloutGroup
from trainer.tree import tree_statistics
from trainer.update import UpdateResult

MIXED_TOLERANCE = 1e-9
"""Rewards of a group that differ by less are equal."""


def step_metrics(
    groups: Sequence[RolloutGroup], grades: Sequence[Sequence[Grade]], batch: Batch, result: UpdateResult
) -> dict[str, float]:
    """Return the metrics of one optimizer step; means are over completions unless the name says otherwise."""
    rewards = [[grade.score for grade in graded if grade.score is not None] for graded in grades]
    known = [reward for group in rewards for reward in group]
    statuses = [grade.status for graded in grades for grade in graded]
    completions = [completion for group in groups for completion in group.completions]
    lengths = [len(completion.tokens) for completion in completions]
    trees = [tree_statistics(tree) for tree in batch.trees]
    return {
        "reward/mean": float(np.mean(known)) if known else 0.0,
        "reward/known": len(known) / len(statuses),
        "reward/mixed_groups": float(
            np.mean([bool(r) and max(r) - min(r) > MIXED_TOLERANCE for r in rewards])
        ),
        "reward/all_correct_groups": float(np.mean([bool(r) and min(r) == 1.0 for r in rewards])),
        "step_tokens": sum(lengths),
        "completion/mean_length": float(np.mean(lengths)),
        "completion/max_length": float(max(lengths)),
        "completion/truncated": float(np.mean([c.finish is Finish.LENGTH for c in completions])),
        "completion/unparsed": float(np.mean([status is Status.UNPARSED for status in statuses])),
        "loss": result.loss,
        "kl": result.kl,
        "gradient_norm": result.gradient_norm,
        **{f"tree/{name}": float(np.mean([tree[name] for tree in trees])) for name in trees[0]},
        "check/grpo_identity": result.residuals[0],
        "check/lambda_identity": result.residuals[1],
        **_logprob_checks(groups, batch, result),
    }


def _logprob_checks(groups: Sequence[RolloutGroup], batch: Batch, result: UpdateResult) -> dict[str, float]:
    """Compare the trainer's log-probabilities with the rollout engine's, and within shared prefixes."""
    engine = [np.array(c.logprobs) for group in groups for c in group.completions]
    gaps = [np.abs(ours - theirs) for ours, theirs in zip(result.logprobs, engine, strict=True) if len(ours)]
    spread, start = 0.0, 0
    for tree in batch.trees:
        members = result.logprobs[start : start + len(tree.order_g)]
        spread = max(spread, prefix_disagreement(tree, members))
        start += len(tree.order_g)
    return {
        "check/rollout_logprob_gap": float(max(gap.max() for gap in gaps)),
        "check/rollout_logprob_gap_mean": float(np.concatenate(gaps).mean()),
        "check/prefix_disagreement": spread,
    }
