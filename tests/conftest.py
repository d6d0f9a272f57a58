"""Tiny models and a tokenizer, built from a seed: no network, no file that could go stale."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from entries import entry, sound
from gate_folders import baseline, gate
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from benchmark.rows import ResultRow
from tasks.engines import Request
from tasks.grading import Asked
from tasks.schema import Grade, Status
from tasks.seeds import derive_seed
from trainer.config import TrainConfig
from trainer.packing import use_tree_attention

__all__ = [
    "baseline",
    "build_tiny",
    "char_tokenizer",
    "entry",
    "gate",
    "grade_odd",
    "gradient_of",
    "load_double",
    "sound",
]

CHARACTERS = "0123456789+-*= \n"
PAD, BOS, EOS = 0, 1, 2
IDS = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
VOCABULARY = len(CHARACTERS) + 3
POSITIONS = 512
LLAMA_LIKE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.2,
    **IDS,
}


def char_tokenizer(pad: str = "<pad>") -> PreTrainedTokenizerFast:
    """Make a tokenizer of one token per character; ids 0, 1, 2 are padding, begin and end of sequence."""
    words = {word: at for at, word in enumerate(["<pad>", "<bos>", "<eos>", *CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, bos_token="<bos>", eos_token="<eos>"
    )


def _llama(tied: bool) -> PreTrainedModel:
    return LlamaForCausalLM(
        LlamaConfig(
            num_key_value_heads=1,
            tie_word_embeddings=tied,
            **LLAMA_LIKE,
        )
    )


def _qwen2(tied: bool) -> PreTrainedModel:
    return Qwen2ForCausalLM(
        Qwen2Config(
            num_key_value_heads=2,
            tie_word_embeddings=tied,
            **LLAMA_LIKE,
        )
    )


def _qwen3(tied: bool) -> PreTrainedModel:
    return Qwen3ForCausalLM(
        Qwen3Config(
            num_key_value_heads=1,
            head_dim=32,
            tie_word_embeddings=tied,
            **LLAMA_LIKE,
        )
    )


def _gpt2(tied: bool) -> PreTrainedModel:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=POSITIONS,
            n_embd=64,
            n_layer=2,
            n_head=2,
            tie_word_embeddings=tied,
            initializer_range=0.2,
            **IDS,
        )
    )


FAMILIES: dict[str, Callable[[bool], PreTrainedModel]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gpt2": _gpt2,
}


def build_tiny(folder: Path, family: str = "llama", *, seed: int = 0, tied: bool = True) -> Path:
    """Write a 2-layer model with a seeded init (wide, so that it is sure of something) and its tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        FAMILIES[family](tied).save_pretrained(folder)
    char_tokenizer().save_pretrained(folder)
    return folder


def load_double(folder: Path) -> PreTrainedModel:
    """Load a model, ready for the tree, that computes in float64 throughout.

    transformers' RMS norms go through float32 whatever the model's dtype, which would leave 1e-7 in
    gradients.
    """
    model = AutoModelForCausalLM.from_pretrained(folder).double().eval()
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.forward = partial(_rms_norm, module)
    use_tree_attention(model)
    return model


def _rms_norm(module: nn.Module, states: torch.Tensor) -> torch.Tensor:
    scale = torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)
    return module.weight * states * scale


def gradient_of(model: nn.Module) -> torch.Tensor:
    """Return the gradient of all parameters as one vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests without a model first while mutants are tested: most die there, in milliseconds."""
    if "MUTANT_UNDER_TEST" in os.environ:
        items.sort(
            key=lambda item: any(name.startswith("tiny") for name in getattr(item, "fixturenames", ()))
        )


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """Return this module: `build_tiny`, `load_double` and more for tests that want another tiny model."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the HF folder of a tiny Llama with tied embeddings. Shared: do not write into it."""
    return build_tiny(tmp_path_factory.mktemp("policy") / "llama")


@pytest.fixture(scope="session")
def make_config(tiny_policy: Path) -> Callable[..., TrainConfig]:
    """Return a function that makes a run of 4 short steps on the tiny policy; every key can be set."""

    def make(**changes: Any) -> TrainConfig:
        values = {
            "policy": str(tiny_policy),
            "task": "add2",
            "arm": "lambda_grpo",
            "steps": 4,
            "problems_per_step": 2,
            "group_size": 4,
            "max_new_tokens": 6,
            "learning_rate": 1e-3,
            "micro_batch": 8,
            "checkpoint_every": 2,
            "engine": "transformers",
        }
        return TrainConfig.model_validate(values | changes)

    return make


@pytest.fixture
def odd_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained policy is never right, and without reward nothing moves: let odd texts win instead."""
    from trainer import loop

    monkeypatch.setattr(loop, "grade_all", grade_odd)


def grade_odd(asked: Sequence[Asked]) -> list[Grade]:
    """Call a text right when the sum of its characters is odd."""
    return [
        Grade(status=Status.CORRECT if sum(map(ord, one.text)) % 2 else Status.WRONG, answer=one.text)
        for one in asked
    ]


@pytest.fixture(scope="session")
def mixed_requests() -> Callable[..., list[Request]]:
    """Return a function that makes requests: prompts of 1 to 9 tokens with several seeds each."""

    def make(count: int = 12, seeds: int = 3) -> list[Request]:
        rng = np.random.default_rng(5)
        return [
            Request(
                prompt=tuple(int(token) for token in rng.integers(3, 19, size=1 + at % 9)),
                seeds=tuple(derive_seed(at, member) for member in range(seeds)),
            )
            for at in range(count)
        ]

    return make


def _load(name: str) -> ModuleType:
    """Import a helper beside this file by path: `tests` is no package, another may have that name."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_row() -> Callable[..., ResultRow]:
    """Return `synthetic.make_row`: one valid result row, every field can be set."""
    return _load("synthetic").make_row


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., list[ResultRow]]:
    """Return `synthetic.make_rows`: saturating learning curves as result rows."""
    return _load("synthetic").make_rows


@pytest.fixture(scope="session")
def report_golden() -> ModuleType:
    """Return report_golden.py: the rows of the golden report, and what writes it."""
    return _load("report_golden")


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """Return groups.py: `make_groups`, `make_batch` and `make_config` for tests of the update."""
    return _load("groups")


@pytest.fixture(scope="session")
def trl_step() -> ModuleType:
    """Return trl_step.py: one batch through TRL's step and through our update."""
    return _load("trl_step")


@pytest.fixture(scope="session")
def published() -> ModuleType:
    """Return published.py: invented items of every published set; `fetch_fixture(name)` fetches them."""
    return _load("published")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty data folder this test's own."""
    monkeypatch.setenv("LAMBDA_GRPO_BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"
