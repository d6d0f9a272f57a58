"""One batch, one gradient: whatever the micro-batches, the order, the padding, the forward, the processes."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from trainer import update as update_module
from trainer.batch import Batch, Row
from trainer.logprobs import TokenLogprobs
from trainer.update import update

SHAPE = {"groups": 4, "members": 4}


def gradient(tiny: ModuleType, folder: Path, batch: Batch, config: object) -> torch.Tensor:
    model, reference = tiny.load_double(folder), tiny.load_double(folder)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter *= 1.1
    update(model, reference, torch.optim.SGD(model.parameters(), lr=0.0), batch, config)
    return tiny.gradient_of(model)


def left_padded(model: PreTrainedModel, rows: list[Row], temperature: float, forward: str) -> TokenLogprobs:
    """Compute log-probabilities as most trainers do: padding on the left, with mask and positions."""
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[0] * (width - len(row.ids)) + row.ids.tolist() for row in rows])
    mask = torch.tensor([[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in rows])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits / temperature
    logp = logits.log_softmax(-1)
    parts = [
        logp[at, t - 1, ids[at, t]]
        for at, row in enumerate(rows)
        for t in range(width - len(row.weight_t), width)
    ]
    return TokenLogprobs(torch.stack(parts), torch.zeros(len(parts)))


@pytest.fixture
def shuffled(made: ModuleType) -> Batch:
    """Return the batch of SHAPE with groups and members in another order."""
    batch = made.make_batch(9, made.make_config(arm="lambda_grpo", kl_beta=0.04), **SHAPE)
    rng = np.random.default_rng(1)
    groups = [batch.groups[at] for at in rng.permutation(len(batch.groups))]
    return replace(
        batch,
        groups=[replace(group, rows=[group.rows[at] for at in rng.permutation(4)]) for group in groups],
    )


@pytest.mark.parametrize(
    ("micro_batch", "forward", "order", "padding"),
    list(itertools.product([1, 3, 4, 16], ["padded", "tree"], ["sampled", "shuffled"], ["right", "left"])),
)
def test_the_gradient_is_one(
    tiny: ModuleType,
    made: ModuleType,
    tiny_policy: Path,
    shuffled: Batch,
    monkeypatch: pytest.MonkeyPatch,
    micro_batch: int,
    forward: str,
    order: str,
    padding: str,
) -> None:
    """The micro-batch decides how many passes are accumulated: 16 rows in 16, 6, 4 or 1."""
    if (forward, padding) == ("tree", "left"):
        pytest.skip("the tree forward has no padding")
    config = made.make_config(arm="lambda_grpo", kl_beta=0.04, temperature=0.7)
    batch = made.make_batch(9, config, **SHAPE)
    assert len(batch.rows) == 16
    base = gradient(
        tiny, tiny_policy, batch, config.model_copy(update={"micro_batch": 16, "forward": "padded"})
    )
    if padding == "left":
        monkeypatch.setattr(update_module, "logprobs", left_padded)
    given = batch if order == "sampled" else shuffled
    other = config.model_copy(update={"micro_batch": micro_batch, "forward": forward})
    ours = gradient(tiny, tiny_policy, given, other)
    assert (ours - base).norm() / base.norm() < 1e-9
    assert base.norm() > 1e-3


@pytest.fixture(scope="module")
def worlds(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Run every case of two_processes.py in one process and in two."""
    out = tmp_path_factory.mktemp("worlds")
    for family in ("llama", "gpt2"):
        tiny.build_tiny(out / family, family)
    worker = Path(__file__).with_name("two_processes.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    for command in ([sys.executable], launch):
        done = subprocess.run(
            [*command, str(worker), str(out)],
            env=os.environ | {"PYTHONPATH": str(worker.parents[1])},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return {size: out / f"world_{size}.pt" for size in (1, 2)}


@pytest.mark.parametrize("forward", ["padded", "tree"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("dropped", ["none", "one group of rank 0"])
def test_two_processes_take_the_steps_of_one(
    worlds: dict[int, Path], forward: str, family: str, dropped: str
) -> None:
    """FSDP2 over gloo: gradient, norm, loss, and the weights after two clipped AdamW steps.

    With a group dropped on one rank alone that rank has fewer micro-batches to run than the other.
    """
    one, two = (
        torch.load(path, weights_only=True)[f"{family} {forward} {dropped}"] for path in worlds.values()
    )
    assert one["norm"] > 1e-3
    for name, value in one.items():
        assert (two[name] - value).norm() <= 1e-9 * value.norm(), name
