"""Log-probabilities and the update: against plain forwards, and the same whatever the micro-batches."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from trainer.arms import ARMS
from trainer.batch import Batch, Row
from trainer.config import TrainConfig
from trainer.logprobs import completion_logprobs
from trainer.tree import process_tree
from trainer.update import update

CONFIG = TrainConfig(
    policy="embedded",
    task="add2",
    steps=1,
    problems_per_step=2,
    group_size=4,
    max_new_tokens=8,
    learning_rate=0.0,
    micro_batch=8,
    checkpoint_every=1,
    gradient_clip=1e9,
)


def random_batch(arm: str, seed: int, *, groups: int = 2, members: int = 4) -> Batch:
    """Make groups over a small vocabulary, so that prefixes are shared, with advantages of both signs."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    trees, advantages, normaliser = [], [], 0.0
    for _ in range(groups):
        prompt = rng.integers(3, 15, size=rng.integers(2, 6))
        tokens = [rng.integers(3, 5, size=rng.integers(1, 8)) for _ in range(members)]
        tree = process_tree(tokens)
        weights = ARMS[arm].weigh(tree)
        advantage_g = rng.normal(size=members)
        normaliser += ARMS[arm].mass(tree, weights)
        trees.append(tree)
        advantages.append(advantage_g)
        rows += [
            Row(ids=np.concatenate([prompt, ids]), prompt=len(prompt), advantage=float(a), weight_t=w)
            for ids, a, w in zip(tokens, advantage_g, weights, strict=True)
        ]
    return Batch(rows=rows, trees=trees, advantages=advantages, normaliser=normaliser)


def load(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder).double()


def one_by_one(model: PreTrainedModel, rows: list[Row], temperature: float) -> torch.Tensor:
    """Return completion log-probabilities of each row alone: no batch, no padding, the whole output layer."""
    parts = []
    for row in rows:
        ids = torch.from_numpy(row.ids)[None]
        logp = (model(input_ids=ids).logits[0] / temperature).log_softmax(-1)
        parts += [logp[t - 1, row.ids[t]] for t in range(row.prompt, len(row.ids))]
    return torch.stack(parts)


def gradient(model: PreTrainedModel) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_equal_each_row_alone(
    tiny: ModuleType, tmp_path: Path, family: str, temperature: float
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny.build_tiny(tmp_path, family)).eval()
    rows = random_batch("grpo", 0).rows
    ours = completion_logprobs(model, rows, temperature)
    assert torch.allclose(ours, one_by_one(model, rows, temperature), atol=1e-5)  # float32 kernels


@pytest.mark.parametrize("arm", sorted(ARMS))
def test_gradient_is_the_formula_row_by_row(tiny_policy: Path, arm: str) -> None:
    """Rebuild -(1/N) Σ w·a·∇log π from rows alone and counts by definition."""
    batch = random_batch(arm, 1)
    model = load(tiny_policy)
    logp = one_by_one(model, batch.rows, 1.0)
    tokens = [row.ids[row.prompt :].tolist() for row in batch.rows]
    weights = []
    for i, row in enumerate(tokens):
        group = tokens[i // 4 * 4 : i // 4 * 4 + 4]
        for t in range(len(row)):
            count = sum(other[: t + 1] == row[: t + 1] for other in group)
            weights.append(batch.rows[i].advantage / (count if arm == "lambda_grpo" else 1))
    (-(torch.tensor(weights, dtype=torch.float64) * logp).sum() / sum(map(len, tokens))).backward()
    expected = gradient(model)
    model.zero_grad()
    update(model, None, torch.optim.SGD(model.parameters(), lr=0.0), batch, CONFIG)
    assert torch.allclose(gradient(model), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("arm", sorted(ARMS))
@pytest.mark.parametrize("micro_batch", [1, 3, 5])
def test_micro_batches_change_nothing(tiny_policy: Path, arm: str, micro_batch: int) -> None:
    batch = random_batch(arm, 2)
    results, gradients = [], []
    for size in (8, micro_batch):
        model = load(tiny_policy)
        config = CONFIG.model_copy(update={"micro_batch": size})
        results.append(update(model, None, torch.optim.SGD(model.parameters(), lr=0.0), batch, config))
        gradients.append(gradient(model))
    assert torch.allclose(*gradients, rtol=1e-9, atol=1e-12)
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-9)


def test_kl_pulls_back_to_the_reference(tiny: ModuleType, tiny_policy: Path, tmp_path: Path) -> None:
    """With advantages of zero only the KL term acts; a step against its gradient lowers it."""
    batch = random_batch("lambda_grpo", 3)
    still = Batch(
        rows=[Row(ids=r.ids, prompt=r.prompt, advantage=0.0, weight_t=r.weight_t) for r in batch.rows],
        trees=batch.trees,
        advantages=[np.zeros(4), np.zeros(4)],
        normaliser=batch.normaliser,
    )
    model = load(tiny_policy)
    reference = load(tiny.build_tiny(tmp_path, seed=1))
    config = CONFIG.model_copy(update={"kl_beta": 0.04})
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = update(model, reference, optimizer, still, config)
    after = update(model, reference, optimizer, still, config)
    assert before.kl > 0
    assert before.loss > 0
    assert after.kl < before.kl


def test_the_same_policy_has_no_kl(tiny_policy: Path) -> None:
    model, config = load(tiny_policy), CONFIG.model_copy(update={"kl_beta": 0.04})
    result = update(
        model, load(tiny_policy), torch.optim.SGD(model.parameters(), lr=0.0), random_batch("grpo", 4), config
    )
    assert result.kl == 0.0


def test_clipping_bounds_the_whole_gradient(tiny_policy: Path) -> None:
    model = load(tiny_policy)
    config = CONFIG.model_copy(update={"gradient_clip": 1e-3, "micro_batch": 3})
    result = update(model, None, torch.optim.SGD(model.parameters(), lr=0.0), random_batch("grpo", 5), config)
    assert result.gradient_norm > 1e-3
    assert gradient(model).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_before_the_step(tiny_policy: Path) -> None:
    model = load(tiny_policy)
    batch = random_batch("grpo", 6)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    object.__setattr__(batch.rows[0], "advantage", float("nan"))
    with pytest.raises(FloatingPointError, match="not taken"):
        update(model, None, torch.optim.SGD(model.parameters(), lr=1.0), batch, CONFIG)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_bfloat16_points_the_same_way(tiny_policy: Path) -> None:
    gradients = []
    for dtype in ("float32", "bfloat16"):
        model = AutoModelForCausalLM.from_pretrained(tiny_policy).eval()
        config = CONFIG.model_copy(update={"update_dtype": dtype})
        update(model, None, torch.optim.SGD(model.parameters(), lr=0.0), random_batch("grpo", 7), config)
        assert all(p.grad.dtype == torch.float32 for p in model.parameters())
        gradients.append(gradient(model))
    cosine = torch.nn.functional.cosine_similarity(*gradients, dim=0).item()
    assert 0.999 < cosine < 1.0  # the same direction, but not the same numbers: the option does something
