"""Weights: live, swapped, updated, and proved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tasks.engines import Engine, Request, Sampling, WeightMismatch, open_engine
from tasks.engines.forward import score
from tasks.engines.proof import largest_gap, probe_prompts, prove_weights
from tasks.errors import UserError

FAMILIES = ["llama", "qwen2", "gpt2"]
SAMPLED = Sampling(temperature=1.0, max_new_tokens=10)
MixedRequests = Callable[..., list[Request]]


def start(folder: Path, **options: Any) -> Engine:
    return open_engine("transformers", folder, **({"max_model_len": 64} | options))


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_a_live_module_is_decoded_without_a_copy(
    tiny: ModuleType, tmp_path: Path, mixed_requests: MixedRequests
) -> None:
    ours, other = tiny.build_tiny(tmp_path / "a"), tiny.build_tiny(tmp_path / "b", seed=1)
    model = load(ours).train()
    model.model.layers[0].eval()  # frozen parts keep their own flag
    flags = [module.training for module in model.modules()]
    engine, requests = start(ours, model=model), mixed_requests()
    assert engine.generate(requests, SAMPLED) == start(ours).generate(requests, SAMPLED)
    assert [module.training for module in model.modules()] == flags
    model.load_state_dict(load(other).state_dict())
    engine.update([])  # nothing to do: the live weights are the engine's
    assert engine.generate(requests, SAMPLED) == start(other).generate(requests, SAMPLED)
    with pytest.raises(ValueError, match="would overwrite the policy"):
        engine.swap(ours)
    model(input_ids=torch.tensor([[3, 4]])).logits.sum().backward()  # it can still be trained
    assert model.lm_head.weight.grad is not None


def test_dropout_is_off_while_decoding(
    tiny: ModuleType, tmp_path: Path, mixed_requests: MixedRequests
) -> None:
    folder = tiny.build_tiny(tmp_path / "gpt2", "gpt2")
    model = load(folder).train()  # GPT-2 has dropout 0.1
    requests = mixed_requests()
    assert start(folder, model=model).generate(requests, SAMPLED) == start(folder).generate(requests, SAMPLED)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_swap_there_and_back(
    tiny: ModuleType, tmp_path: Path, family: str, tied: bool, mixed_requests: MixedRequests
) -> None:
    first, second = (tiny.build_tiny(tmp_path / str(seed), family, seed=seed, tied=tied) for seed in (0, 1))
    engine, requests = start(first), mixed_requests()
    before, other = (start(one).generate(requests, SAMPLED) for one in (first, second))
    assert before != other
    for folder, wanted in ((second, other), (first, before)):
        engine.swap(folder)
        assert engine.generate(requests, SAMPLED) == wanted


def test_swap_refuses_another_architecture(tiny: ModuleType, tiny_policy: Path, tmp_path: Path) -> None:
    engine = start(tiny_policy)
    with pytest.raises(UserError, match=r"another architecture.*open a new engine"):
        engine.swap(tiny.build_tiny(tmp_path / "qwen2", "qwen2"))
    folder = tiny.build_tiny(tmp_path / "llama")  # equal shapes, another function of them
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    with pytest.raises(UserError, match=r"rms_norm_eps=0.1"):
        engine.swap(folder)


def test_swap_notices_weights_that_did_not_arrive(
    tiny: ModuleType, tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start(tiny_policy)
    monkeypatch.setattr(engine, "update", lambda weights: None)
    with pytest.raises(WeightMismatch, match="differs from the file"):
        engine.swap(tiny.build_tiny(tmp_path / "other", seed=1))


def test_update_by_name(
    tiny: ModuleType, tiny_policy: Path, tmp_path: Path, mixed_requests: MixedRequests
) -> None:
    other = tiny.build_tiny(tmp_path / "other", seed=1)
    engine, requests = start(tiny_policy), mixed_requests()
    engine.update(load(other).named_parameters())  # tied: lm_head is not among them
    assert engine.generate(requests, SAMPLED) == start(other).generate(requests, SAMPLED)
    weights = list(load(other).named_parameters())
    with pytest.raises(WeightMismatch, match=r"1 weights were not given.*norm"):
        engine.update(weights[:-1])
    with pytest.raises(ValueError, match="has no place in the engine's model"):
        engine.update([("no.such.weight", weights[0][1])])


def test_prove_weights_names_the_numbers(tiny: ModuleType, tiny_policy: Path, tmp_path: Path) -> None:
    engine, probes = start(tiny_policy), probe_prompts(tiny_policy, 9)
    assert [len(ids) for ids in probes] == [9, 9]
    trusted = score(load(tiny_policy), probes, 2)
    assert prove_weights(engine, probes, trusted, 1e-5) < 1e-5
    trusted[1][2] += 0.25
    assert largest_gap(engine.token_logprobs(probes), trusted) == pytest.approx(0.25, abs=1e-5)
    with pytest.raises(WeightMismatch, match=r"0\.250\d+ nats off .* at most 0.001"):
        prove_weights(engine, probes, trusted, 1e-3)
    trusted[1][2] = float("nan")
    with pytest.raises(WeightMismatch, match="inf nats"):
        prove_weights(engine, probes, trusted, 1e-3)
