"""The vLLM engine against transformers. One engine serves the whole file: vLLM takes 10 to 20 s to start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM

from tasks.engines import Completion, Finish, Request, Sampling, WeightMismatch, open_engine
from tasks.engines.forward import score
from tasks.engines.proof import probe_prompts, prove_weights, stored_tensors
from tasks.engines.readback import read_back
from tasks.engines.select import vllm_installed
from tasks.errors import UserError
from tasks.seeds import derive_seed

pytestmark = [pytest.mark.vllm, pytest.mark.skipif(not vllm_installed(), reason="vllm is not installed")]

MixedRequests = Callable[..., list[Request]]
EOS = 2
FAMILIES = ["llama", "qwen2", "gpt2"]
SAMPLED = Sampling(temperature=1.0, max_new_tokens=8)
GREEDY = Sampling(temperature=0, max_new_tokens=8)
NOISE = {"rel": 1e-4, "abs": 1e-4}  # float32 kernels of two libraries: 5e-5 nats seen


@pytest.fixture(scope="module")
def folders(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return two checkpoints of every family, with tied embeddings, and two of Llama without."""
    root = tmp_path_factory.mktemp("vllm")
    names = {f"{family}-{seed}": (family, seed, True) for family in FAMILIES for seed in (0, 1)}
    names |= {f"untied-{seed}": ("llama", seed, False) for seed in (0, 1)}
    return {
        name: tiny.build_tiny(root / name, family, seed=seed, tied=tied)
        for name, (family, seed, tied) in names.items()
    }


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Iterator[Any]:
    """Yield an engine; every test that needs certain weights swaps to them first."""
    family, dtype = getattr(request, "param", ("llama", "float32"))
    opened: Any = open_engine(
        "vllm", folders[f"{family}-0"], dtype=dtype, max_model_len=256, max_sequences=64
    )
    yield opened
    opened.close()


def trusted(folder: Path) -> Any:
    return open_engine("transformers", folder, max_model_len=256)


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def assert_close(got: list[list[Completion]], wanted: list[list[Completion]]) -> None:
    for ours, theirs in zip(got, wanted, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert (one.tokens, one.finish) == (other.tokens, other.finish)
            assert one.logprobs == pytest.approx(other.logprobs, **NOISE)


def test_greedy_agrees_with_transformers(
    engine: Any, folders: dict[str, Path], mixed_requests: MixedRequests
) -> None:
    engine.swap(folders["llama-0"])
    requests = mixed_requests(seeds=2)
    assert_close(engine.generate(requests, GREEDY), trusted(folders["llama-0"]).generate(requests, GREEDY))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_are_those_of_the_sampling_distribution(
    engine: Any, folders: dict[str, Path], temperature: float, mixed_requests: MixedRequests
) -> None:
    engine.swap(folders["llama-0"])
    model, requests = load(folders["llama-0"]), mixed_requests(count=4, seeds=2)
    for request, group in zip(
        requests, engine.generate(requests, replace(SAMPLED, temperature=temperature)), strict=True
    ):
        for got in group:
            with torch.no_grad():
                logits_tv = model(input_ids=torch.tensor([request.prompt + got.tokens])).logits[0, :-1]
            logp_tv = (logits_tv.double() / temperature).log_softmax(-1)[len(request.prompt) - 1 :]
            wanted = [row[token].item() for row, token in zip(logp_tv, got.tokens, strict=True)]
            assert got.logprobs == pytest.approx(wanted, **NOISE)


def test_without_logprobs_the_tokens_are_the_same(engine: Any, mixed_requests: MixedRequests) -> None:
    for sampling in (SAMPLED, GREEDY):
        full = engine.generate(mixed_requests(), sampling)
        bare = engine.generate(mixed_requests(), sampling, logprobs=False)
        assert bare == [[replace(one, logprobs=()) for one in group] for group in full]


def test_top_p_draws_from_the_nucleus_alone_and_is_read_back(engine: Any, folders: dict[str, Path]) -> None:
    engine.swap(folders["llama-0"])
    request = Request(prompt=(5, 6, 7), seeds=tuple(range(64)))
    sampling = Sampling(temperature=1.0, max_new_tokens=1, top_p=0.5)
    (ours,), (theirs,) = (one.generate([request], sampling) for one in (engine, trusted(folders["llama-0"])))
    known = {one.tokens[0]: one.logprobs[0] for one in theirs}
    assert {one.tokens[0] for one in ours} <= set(known)
    for one in ours:
        assert one.logprobs[0] == pytest.approx(known[one.tokens[0]], **NOISE)
    assert engine.effective_sampling(sampling)["top_p"] == 0.5
    assert engine.effective_sampling(replace(sampling, temperature=0.0))["top_p"] == 1.0


def test_token_logprobs_equal_a_plain_forward(
    engine: Any, folders: dict[str, Path], mixed_requests: MixedRequests
) -> None:
    engine.swap(folders["llama-0"])
    sequences = [request.prompt for request in mixed_requests()] + [(5,) * 200]
    for _ in range(2):  # the second time the long one is in the prefix cache
        engine.generate([Request(prompt=(5,) * 200)], GREEDY)
        got = engine.token_logprobs(sequences)
        for ours, theirs in zip(got, score(load(folders["llama-0"]), sequences, 64), strict=True):
            assert ours == pytest.approx(theirs, **NOISE)


def test_a_completion_depends_on_its_seed_and_prompt_alone(
    engine: Any, mixed_requests: MixedRequests
) -> None:
    requests = mixed_requests()
    together = engine.generate(requests, SAMPLED)
    assert engine.generate(requests, SAMPLED) == together
    order = np.random.default_rng(0).permutation(len(requests))
    shuffled = engine.generate([requests[at] for at in order], SAMPLED)
    assert [[one.tokens for one in group] for group in shuffled] == [
        [one.tokens for one in together[at]] for at in order
    ]
    assert all(
        engine.generate([one], SAMPLED)[0][0].tokens == group[0].tokens
        for one, group in zip(requests[:3], together, strict=False)
    )
    assert together[5][0].tokens != together[5][1].tokens


def test_sampled_frequencies_are_the_softmax(engine: Any, folders: dict[str, Path]) -> None:
    engine.swap(folders["llama-0"])
    prompt, count = (5, 6, 7), 2000
    request = Request(prompt=prompt, seeds=tuple(derive_seed("frequency", at) for at in range(count)))
    (group,) = engine.generate([request], replace(SAMPLED, max_new_tokens=1))
    with torch.no_grad():
        logits_v = load(folders["llama-0"])(input_ids=torch.tensor([prompt])).logits[0, -1].double()
    expected = logits_v.softmax(-1).numpy() * count
    seen = np.bincount([one.tokens[0] for one in group], minlength=len(expected))
    common = (expected >= 5) & (expected > expected.min())  # chi-square wants 5 a cell: the rest is one cell
    cells = [np.append(part[common], part[~common].sum()) for part in (seen, expected)]
    assert chisquare(cells[0], cells[1]).pvalue > 1e-4


def test_more_prompt_tokens_than_one_step_takes(engine: Any) -> None:
    """A prompt cut in two makes vLLM wind a seeded generator back, which fails on the CPU."""
    rng = np.random.default_rng(6)
    prompts = [tuple(int(token) for token in rng.integers(3, 19, size=200)) for _ in range(50)]
    got = engine.generate([Request(prompt=prompt, seeds=(1,)) for prompt in prompts], SAMPLED)
    alone = engine.generate([Request(prompt=prompts[-1], seeds=(1,))], SAMPLED)
    assert got[-1][0].tokens == alone[0][0].tokens


def test_eos_is_kept_and_finish_is_right(engine: Any) -> None:
    (group,) = engine.generate([Request(prompt=(5, 6, 7), seeds=tuple(range(64)))], SAMPLED)
    assert {one.finish for one in group} == {Finish.STOP, Finish.LENGTH}
    for one in group:
        assert len(one.tokens) == len(one.logprobs) <= SAMPLED.max_new_tokens
        assert (one.finish is Finish.STOP) == (one.tokens[-1] == EOS)
        assert EOS not in one.tokens[:-1]
        assert one.finish is Finish.STOP or len(one.tokens) == SAMPLED.max_new_tokens


def test_swap_there_and_back(engine: Any, folders: dict[str, Path], mixed_requests: MixedRequests) -> None:
    requests = mixed_requests(seeds=1)
    for name in ("llama-0", "llama-1", "llama-0"):
        engine.swap(folders[name])
        assert_close(engine.generate(requests, GREEDY), trusted(folders[name]).generate(requests, GREEDY))


def test_swap_forgets_the_prefix_cache(engine: Any, folders: dict[str, Path]) -> None:
    requests = [Request(prompt=(5, 6, 7) * 70)]  # longer than a cache block, 128 tokens on the CPU
    for name in ("llama-0", "llama-1"):
        engine.swap(folders[name])
        assert_close(engine.generate(requests, GREEDY), trusted(folders[name]).generate(requests, GREEDY))


def test_update_reaches_a_tied_head(engine: Any, folders: dict[str, Path]) -> None:
    """Without `repack_head` the engine keeps the old lm_head and nothing complains."""
    engine.swap(folders["llama-0"])
    model = load(folders["llama-1"])
    assert "lm_head.weight" not in dict(model.named_parameters())
    engine.update(model.named_parameters())
    probes = probe_prompts(folders["llama-0"], 16)
    prove_weights(engine, probes, score(model, probes, 8), 1e-4)
    engine.update(load(folders["llama-0"]).state_dict().items())  # lm_head twice: as itself and as embedding
    prove_weights(engine, probes, score(load(folders["llama-0"]), probes, 8), 1e-4)


def test_a_small_step_is_noticed(engine: Any, folders: dict[str, Path]) -> None:
    model = load(folders["llama-0"])
    engine.update(model.named_parameters())
    probes = probe_prompts(folders["llama-0"], 16)
    with torch.no_grad():
        model.model.embed_tokens.weight += 1e-3 * torch.randn(
            model.model.embed_tokens.weight.shape, generator=torch.Generator().manual_seed(0)
        )
    with pytest.raises(WeightMismatch, match="nats off"):
        prove_weights(engine, probes, score(model, probes, 8), 1e-3)
    engine.update(model.named_parameters())
    prove_weights(engine, probes, score(model, probes, 8), 1e-4)


def test_weights_left_out_are_noticed(engine: Any, folders: dict[str, Path]) -> None:
    weights = list(load(folders["llama-0"]).named_parameters())
    with pytest.raises(
        WeightMismatch, match=r"1 weights were not given and are stale, one is 'model.norm.weight'"
    ):
        engine.update(weights[:-1])


def test_every_stale_tensor_is_named(engine: Any, folders: dict[str, Path]) -> None:
    """What the engine holds against files that differ in one tensor, or in one element of one."""
    engine.swap(folders["llama-0"])
    held = dict(stored_tensors(folders["llama-0"]))

    def read(weights: dict[str, torch.Tensor]) -> Any:
        (found,) = engine._llm.apply_model(partial(read_back, weights=weights))
        return found

    assert read(held) == ([], [])
    for name, tensor in held.items():
        changed = tensor.clone()
        changed.view(-1)[-1] += 0.1 * tensor.abs().mean()
        assert name in read(held | {name: changed}).stale, name
    assert read(held | {"model.odd.weight": torch.ones(2)}).unseen == ["model.odd.weight"]
    without = {name: tensor for name, tensor in held.items() if "layers.1.mlp.down_proj" not in name}
    assert read(without).unseen == ["model.layers.1.mlp.down_proj.weight"]


def test_a_tied_head_that_stays_stale_is_named(
    engine: Any, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU build's silent fault: the embedding is new, the packed head is not."""
    engine.swap(folders["llama-0"])
    with monkeypatch.context() as patch:
        patch.setattr("tasks.engines.vllm_engine.repack_head", lambda model: None)
        with pytest.raises(WeightMismatch, match=r"'model.embed_tokens.weight' in vLLM differs .*1 do"):
            engine.swap(folders["llama-1"])
    engine.swap(folders["llama-1"])


def test_stale_weights_are_noticed(
    engine: Any, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.swap(folders["llama-0"])
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_reload", lambda weights: None)
        with pytest.raises(WeightMismatch, match="in vLLM differs from the file"):
            engine.swap(folders["llama-1"])
        patch.setattr("tasks.engines.vllm_engine.read_back", lambda model, weights: ([], []))
        with pytest.raises(WeightMismatch, match="nothing it says may be used"):
            engine.swap(folders["llama-1"])


def test_swap_refuses_another_architecture(engine: Any, folders: dict[str, Path]) -> None:
    for name in ("qwen2-0", "untied-0"):
        with pytest.raises(UserError, match=r"another architecture.*open a new engine"):
            engine.swap(folders[name])


def test_the_process_is_left_as_it_was(
    engine: Any, folders: dict[str, Path], mixed_requests: MixedRequests
) -> None:
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    engine.generate(mixed_requests(), SAMPLED)
    engine.swap(folders["llama-0"])
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_temperatures_that_vllm_would_change_are_refused(engine: Any, mixed_requests: MixedRequests) -> None:
    for temperature in (0.001, 3.0):
        with pytest.raises(UserError, match=r"vLLM takes 0 or 0.01 to 2.0"):
            engine.generate(mixed_requests(), replace(SAMPLED, temperature=temperature))


def test_what_the_engine_says_of_itself(engine: Any) -> None:
    assert engine.describe().items() >= {"engine": "vllm", "dtype": "float32"}.items()
    effective = engine.effective_sampling(replace(SAMPLED, temperature=0.5))
    neutral = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "stop_token_ids": "2"}
    assert effective.items() >= ({"temperature": 0.5, "max_tokens": 8} | neutral).items()


def test_nothing_asked_nothing_said(engine: Any) -> None:
    assert engine.generate([], SAMPLED) == []
    assert engine.token_logprobs([]) == []
    assert engine.token_logprobs([(3,)]) == [[]]


@pytest.mark.parametrize("engine", [("llama", "bfloat16")], indirect=True)
def test_bfloat16_swaps_and_notices_stale_weights(
    engine: Any, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.swap(folders["llama-1"])
    monkeypatch.setattr(engine, "_reload", lambda weights: None)
    with pytest.raises(WeightMismatch, match=r"in vLLM differs from the file .16 do"):
        engine.swap(folders["llama-0"])
    monkeypatch.setattr("tasks.engines.vllm_engine.read_back", lambda model, weights: ([], []))
    with pytest.raises(WeightMismatch, match="nothing it says may be used"):
        engine.swap(folders["llama-0"])


@pytest.mark.parametrize(
    ("engine", "family"),
    [((one, "float32"), one) for one in ("qwen2", "gpt2", "untied")],
    indirect=["engine"],
)
def test_other_families_swap_and_update(
    engine: Any, folders: dict[str, Path], family: str, mixed_requests: MixedRequests
) -> None:
    requests = mixed_requests(seeds=1)
    engine.swap(folders[f"{family}-1"])
    assert_close(
        engine.generate(requests, GREEDY), trusted(folders[f"{family}-1"]).generate(requests, GREEDY)
    )
    engine.update(load(folders[f"{family}-0"]).named_parameters())
    assert_close(
        engine.generate(requests, GREEDY), trusted(folders[f"{family}-0"]).generate(requests, GREEDY)
    )
