"""The update: against the formula written out row by row, and what its options do."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from trainer.arms import ARMS
from trainer.batch import Batch, Row, build_batch
from trainer.config import TrainConfig
from trainer.identities import loss_residual
from trainer.logprobs import completion_logprobs
from trainer.update import UpdateResult, update


def one_by_one(model: PreTrainedModel, rows: list[Row], temperature: float) -> torch.Tensor:
    """Return completion log-probabilities of each row alone: no batch, no padding, the whole output layer."""
    parts = []
    for row in rows:
        ids = torch.from_numpy(row.ids)[None]
        logp = (model(input_ids=ids).logits[0] / temperature).log_softmax(-1)
        parts += [logp[t - 1, row.ids[t]] for t in range(row.prompt, len(row.ids))]
    return torch.stack(parts)


def sgd(model: PreTrainedModel, lr: float = 0.0) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr)


def step_by_definition(
    model: PreTrainedModel, reference: PreTrainedModel, batch: Batch, config: TrainConfig, lr: float
) -> None:
    """Take µ steps of -(1/N) Σ [w min(ρ P a, ρ clip(P) a) - w_kl D], every term written out."""
    rows = batch.rows
    advantage = torch.tensor([row.advantage for row in rows for _ in row.weight_t], dtype=torch.float64)
    weight, kl_weight, rollout = (
        torch.tensor(np.concatenate([getattr(row, name) for row in rows]))
        for name in ("weight_t", "kl_weight_t", "rollout_logp_t")
    )
    old = one_by_one(model, rows, config.temperature).detach()
    base = one_by_one(reference, rows, config.temperature).detach()
    rho = 1.0
    if config.importance_cap is not None:
        rho = (old - rollout).exp().clamp(max=config.importance_cap)
    for _ in range(config.updates_per_batch):
        model.zero_grad()
        logp = one_by_one(model, rows, config.temperature)
        ratio = (logp - old).exp()
        clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
        policy = torch.minimum(ratio * advantage, clipped * advantage) * rho
        kl = config.kl_beta * ((base - logp).exp() - (base - logp) - 1)
        (-(weight * policy - kl_weight * kl).sum() / batch.normaliser).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= lr * parameter.grad


@pytest.mark.parametrize("arm", sorted(ARMS))
@pytest.mark.parametrize("forward", ["padded", "tree"])
def test_two_clipped_updates_are_the_formula_row_by_row(
    tiny: ModuleType, made: ModuleType, tiny_policy: Path, tmp_path: Path, arm: str, forward: str
) -> None:
    config = made.make_config(
        arm=arm,
        forward=forward,
        updates_per_batch=2,
        clip_low=0.05,
        clip_high=0.1,
        kl_beta=0.04,
        importance_cap=1.5,
        temperature=0.7,
        micro_batch=3,
    )
    batch = made.make_batch(1, config)
    ours, theirs = tiny.load_double(tiny_policy), tiny.load_double(tiny_policy)
    reference = tiny.load_double(tiny.build_tiny(tmp_path, seed=1))
    result = update(ours, reference, sgd(ours, lr=0.02), batch, config)
    step_by_definition(theirs, reference, batch, config, lr=0.02)
    assert result.clipped_low + result.clipped_high > 0.02  # the second update has met both bounds
    assert torch.allclose(tiny.gradient_of(ours), tiny.gradient_of(theirs), rtol=1e-9, atol=1e-12)
    for name, parameter in ours.named_parameters():
        assert torch.allclose(parameter, theirs.get_parameter(name), rtol=1e-10, atol=1e-12), name


def test_the_first_update_of_a_batch_has_ratio_one(
    tiny: ModuleType, made: ModuleType, tiny_policy: Path
) -> None:
    model = tiny.load_double(tiny_policy)
    one = update(model, None, sgd(model, lr=1.0), made.make_batch(0), made.make_config())
    assert all((ratio_t == 1.0).all() for ratio_t in one.ratios)
    assert (one.clipped_low, one.clipped_high, len(one.gradient_norms)) == (0.0, 0.0, 1)
    model = tiny.load_double(tiny_policy)
    two = update(model, None, sgd(model, lr=1.0), made.make_batch(0), made.make_config(updates_per_batch=2))
    assert max(abs(ratio_t - 1.0).max() for ratio_t in two.ratios) > 0.01
    assert len(two.gradient_norms) == 2
    assert two.loss == one.loss  # of the first inner update
    assert two.logprobs[0].tolist() == one.logprobs[0].tolist()  # before any update


def test_importance_is_measured_without_a_cap_and_used_with_one(
    tiny: ModuleType, made: ModuleType, tiny_policy: Path
) -> None:
    results: dict[float | None, tuple[UpdateResult, torch.Tensor]] = {}
    for cap in (None, 1e-9, 1e9):
        model = tiny.load_double(tiny_policy)
        result = update(model, None, sgd(model), made.make_batch(2), made.make_config(importance_cap=cap))
        results[cap] = result, tiny.gradient_of(model)
    plain, gradient = results[None]
    rows = made.make_batch(2).rows
    for ours, row, logp_t in zip(plain.importance, rows, plain.logprobs, strict=True):
        np.testing.assert_allclose(ours, np.exp(logp_t - row.rollout_logp_t), rtol=1e-12)
    assert torch.allclose(results[1e-9][1], gradient * 1e-9, rtol=1e-6, atol=1e-20)  # every weight is the cap
    cosine = torch.nn.functional.cosine_similarity(results[1e9][1], gradient, dim=0)
    assert cosine < 0.999


def test_kl_pulls_back_to_the_reference(
    tiny: ModuleType, made: ModuleType, tiny_policy: Path, tmp_path: Path
) -> None:
    """With advantages of zero only the KL term acts; a step against its gradient lowers it."""
    config = made.make_config(arm="lambda_grpo", kl_beta=0.04)
    batch = made.make_batch(3, config)
    still = replace(
        batch,
        groups=[
            replace(group, rows=[replace(row, advantage=0.0) for row in group.rows]) for group in batch.groups
        ],
    )
    model, reference = tiny.load_double(tiny_policy), tiny.load_double(tiny.build_tiny(tmp_path, seed=1))
    optimizer = sgd(model, lr=1e-3)
    before = update(model, reference, optimizer, still, config)
    after = update(model, reference, optimizer, still, config)
    assert np.concatenate(before.kls).min() >= 0
    assert before.loss > 0
    assert np.concatenate(after.kls).mean() < np.concatenate(before.kls).mean()


def test_the_same_policy_has_no_kl(tiny: ModuleType, made: ModuleType, tiny_policy: Path) -> None:
    model, config = tiny.load_double(tiny_policy), made.make_config(kl_beta=0.04)
    result = update(model, tiny.load_double(tiny_policy), sgd(model), made.make_batch(4, config), config)
    assert np.concatenate(result.kls).max() == 0.0


def test_entropy_is_that_of_the_sampled_distribution(
    tiny: ModuleType, made: ModuleType, tiny_policy: Path
) -> None:
    model, config = tiny.load_double(tiny_policy), made.make_config(temperature=0.7)
    batch = made.make_batch(5, config)
    result = update(model, None, sgd(model), batch, config)
    row = batch.rows[3]
    logp = (model(input_ids=torch.from_numpy(row.ids)[None]).logits[0] / 0.7).log_softmax(-1)
    want = -(logp.exp() * logp).sum(-1)[row.prompt - 1 : -1]
    np.testing.assert_allclose(result.entropies[3], want.detach().numpy(), rtol=1e-9)


def test_clipping_bounds_the_whole_gradient(tiny: ModuleType, made: ModuleType, tiny_policy: Path) -> None:
    model = tiny.load_double(tiny_policy)
    config = made.make_config(gradient_clip=1e-3, micro_batch=3)
    result = update(model, None, sgd(model), made.make_batch(5, config), config)
    assert result.gradient_norms[0] > 1e-3
    assert tiny.gradient_of(model).norm().item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_step(
    tiny: ModuleType, made: ModuleType, tiny_policy: Path, broken: float
) -> None:
    model, batch = tiny.load_double(tiny_policy), made.make_batch(6)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    batch.groups[0].rows[0] = replace(batch.groups[0].rows[0], advantage=broken)
    with pytest.raises(FloatingPointError, match="not taken"):
        update(model, None, sgd(model, lr=1.0), batch, made.make_config())
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_no_step_is_taken_where_no_token_counts(
    tiny: ModuleType, made: ModuleType, tiny_policy: Path
) -> None:
    model = tiny.load_double(tiny_policy)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.1)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    result = update(model, None, optimizer, Batch(groups=[], normaliser=0.0), made.make_config())
    assert (result.loss, result.gradient_norms, result.logprobs) == (0.0, [], [])
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_bfloat16_points_the_same_way(tiny: ModuleType, made: ModuleType, tiny_policy: Path) -> None:
    gradients = []
    for dtype in ("float32", "bfloat16"):
        model = AutoModelForCausalLM.from_pretrained(tiny_policy).eval()
        config = made.make_config(update_dtype=dtype, forward="padded")
        update(model, None, sgd(model), made.make_batch(7), config)
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
        gradients.append(tiny.gradient_of(model))
    cosine = torch.nn.functional.cosine_similarity(*gradients, dim=0).item()
    assert 0.999 < cosine < 1.0  # the same direction, but not the same numbers: the option does something


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt2"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_equal_each_row_alone(
    tiny: ModuleType, made: ModuleType, tmp_path: Path, family: str, temperature: float
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny.build_tiny(tmp_path, family)).eval()
    rows = made.make_batch(0).rows
    ours = completion_logprobs(model, rows, temperature, "padded").logp_n
    assert torch.allclose(ours, one_by_one(model, rows, temperature), atol=1e-5)  # float32 kernels


@pytest.mark.parametrize("arm", ["grpo", "lambda_grpo", "lambda_policy_only", "dr_grpo"])
@pytest.mark.parametrize(
    "options", [{}, {"kl_beta": 0.04}, {"kl_beta": 0.04, "truncated": "masked"}, {"importance_cap": 1.2}]
)
def test_the_loss_is_the_sum_over_the_trees(
    tiny: ModuleType,
    made: ModuleType,
    tiny_policy: Path,
    tmp_path: Path,
    arm: str,
    options: dict[str, object],
) -> None:
    config = made.make_config(arm=arm, **options)
    batch = made.make_batch(12, config, groups=3)
    model = tiny.load_double(tiny_policy)
    reference = tiny.load_double(tiny.build_tiny(tmp_path, seed=1)) if "kl_beta" in options else None
    result = update(model, reference, sgd(model), batch, config)
    assert loss_residual(batch, result, config) < 1e-12
    terms = result.loss * batch.normaliser
    off = replace(result, loss=result.loss + 0.5 / batch.normaliser)
    scale = sum(
        np.abs(
            row.weight_t
            * row.advantage
            * np.minimum(rho_t, config.importance_cap or np.inf) ** bool(config.importance_cap)
            - row.kl_weight_t * kl_t
        ).sum()
        for row, rho_t, kl_t in zip(batch.rows, result.importance, result.kls, strict=True)
    )
    assert abs(terms) > 1e-3
    assert loss_residual(batch, off, config) == pytest.approx(0.5 / max(1.0, scale), rel=1e-9)


def test_a_dropped_group_has_no_part_in_the_loss(
    tiny: ModuleType, made: ModuleType, tiny_policy: Path
) -> None:
    config = made.make_config(arm="grpo", equal_reward_groups="dropped")
    groups, grades = made.make_groups(12, groups=3)
    grades[1] = [grades[1][0]] * 4
    batch = build_batch(groups, grades, config, 1)
    model = tiny.load_double(tiny_policy)
    result = update(model, None, sgd(model), batch, config)
    assert [len(group.rows) for group in batch.groups] == [4, 0, 4]
    assert loss_residual(batch, result, config) < 1e-12
