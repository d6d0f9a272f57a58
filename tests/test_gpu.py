"""What only a CUDA device can show: `tox -e gpu`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import AutoModelForCausalLM

from tasks.engines import Request, Sampling, open_engine
from trainer.config import TrainConfig
from trainer.logprobs import completion_logprobs
from trainer.loop import train
from trainer.packing import use_tree_attention
from trainer.runlog import read_metrics

pytestmark = pytest.mark.gpu


def test_greedy_texts_on_the_gpu_are_those_of_the_cpu(tiny_policy: Path) -> None:
    assert torch.cuda.is_available(), "tox -e gpu needs a CUDA device"
    engine = open_engine("transformers", tiny_policy, max_model_len=64)
    prompts = [(3, 4, 5), (6, 7), (8,)]
    sampling = Sampling(temperature=0, max_new_tokens=12)
    decoded = engine.generate([Request(prompt=prompt) for prompt in prompts], sampling)
    model = AutoModelForCausalLM.from_pretrained(tiny_policy)
    for prompt, [completion] in zip(prompts, decoded, strict=True):
        ids = torch.tensor([[*prompt, *completion.tokens]])
        best = model(input_ids=ids).logits[0].argmax(-1)[len(prompt) - 1 : -1].tolist()
        assert list(completion.tokens) == best
    assert engine.describe()["device"] != "cpu"
    engine.close()


@pytest.mark.parametrize("update_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_training_on_the_gpu(tiny: ModuleType, tmp_path: Path, engine: str, update_dtype: str) -> None:
    config = TrainConfig.model_validate(
        {
            "policy": str(tiny.build_tiny(tmp_path / "policy")),
            "task": "add2",
            "steps": 2,
            "problems_per_step": 2,
            "group_size": 4,
            "max_new_tokens": 8,
            "learning_rate": 1e-4,
            "micro_batch": 8,
            "checkpoint_every": 2,
            "engine": engine,
            "update_dtype": update_dtype,
        }
    )
    train(config, tmp_path / "run", report=lambda line: None)
    for line in read_metrics(tmp_path / "run"):
        assert line["check/weight_sync_gap"] < 1e-3
        assert line["check/rollout_logprob_gap"] < (1e-2 if update_dtype == "float32" else 0.5)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt2"])
def test_both_forwards_agree_on_the_gpu(
    tiny: ModuleType, made: ModuleType, tmp_path: Path, family: str
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny.build_tiny(tmp_path, family)).eval().cuda()
    use_tree_attention(model)
    rows, found = made.make_batch(1, groups=3, members=5).rows, []
    for forward in ("padded", "tree"):
        model.zero_grad()
        logp_n = completion_logprobs(model, rows, 0.7, forward).logp_n
        (logp_n * torch.arange(len(logp_n), device="cuda")).mean().backward()
        found.append((logp_n.detach(), tiny.gradient_of(model)))
    assert (found[0][0] - found[1][0]).abs().max() < 1e-4
    assert (found[0][1] - found[1][1]).norm() / found[0][1].norm() < 1e-3
