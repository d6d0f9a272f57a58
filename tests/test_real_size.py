"""What real sizes need: adapters, other dtypes, recomputed activations, schedules, several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tasks.catalog import load_problems
from tasks.checkpoints import inspect_checkpoint
from tasks.engines.forward import evaluating
from tasks.errors import Interrupted, UserError
from trainer.config import TrainConfig
from trainer.logprobs import completion_logprobs
from trainer.loop import train
from trainer.lora import add_lora, plain_weights
from trainer.open_policy import checkpoint_activations
from trainer.packing import use_tree_attention
from trainer.rollouts import fitting
from trainer.runlog import read_metrics
from trainer.schedule import learning_rate

ROOT = Path(__file__).parents[1]


def config(policy: Path | str, **changes: Any) -> TrainConfig:
    values = {
        "policy": str(policy),
        "task": "add2",
        "arm": "lambda_grpo",
        "steps": 4,
        "problems_per_step": 2,
        "group_size": 4,
        "max_new_tokens": 6,
        "learning_rate": 1e-3,
        "micro_batch": 3,
        "checkpoint_every": 2,
        "engine": "transformers",
    }
    return TrainConfig.model_validate(values | changes)


def quiet(line: str) -> None:
    del line


def digest(out: Path, step: int) -> str:
    return inspect_checkpoint(out / "checkpoints" / f"step_{step:06d}").weights_hash


def logits(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 6, 13, 7, 8]])).logits


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_adapters_start_at_the_policy_and_merge_into_plain_weights(
    tiny: ModuleType, tmp_path: Path, family: str
) -> None:
    pytest.importorskip("peft")
    folder = tiny.build_tiny(tmp_path / "policy", family)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    names = {name for name, _ in model.named_parameters()}
    add_lora(model, config(folder, lora_rank=2, lora_alpha=4.0))
    ids = torch.tensor([[5, 6, 13, 7, 8]])
    assert torch.equal(model(input_ids=ids).logits, logits(folder))  # B is 0
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(".lora_" in name for name in trained)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    weights = dict(plain_weights(model))
    assert weights.keys() == names
    merged = AutoModelForCausalLM.from_pretrained(folder).eval()
    merged.load_state_dict(weights, strict=False)
    ours, theirs = (m(input_ids=ids).logits for m in (model, merged))
    assert torch.allclose(ours, theirs, atol=1e-4 * ours.abs().max().item())
    assert not torch.allclose(theirs, logits(folder), atol=1e-2)


@pytest.mark.usefixtures("odd_is_right")
@pytest.mark.parametrize("forward", ["padded", "tree"])
def test_a_lora_run_resumes_byte_for_byte(tiny_policy: Path, tmp_path: Path, forward: str) -> None:
    pytest.importorskip("peft")
    plan = config(tiny_policy, lora_rank=2, forward=forward, learning_rate=0.05)

    def stop(line: str) -> None:
        if line.startswith("step 0003"):
            raise Interrupted("SIGTERM")

    train(plan, tmp_path / "straight", report=quiet)
    with pytest.raises(Interrupted):
        train(plan, tmp_path / "stopped", report=stop)
    train(plan, tmp_path / "stopped", report=quiet)
    assert digest(tmp_path / "stopped", 4) == digest(tmp_path / "straight", 4)
    logs = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("stopped", "straight")]
    assert logs[0] == logs[1]
    steps = [digest(tmp_path / "straight", step) for step in (0, 2, 4)]
    assert len(set(steps)) == 3
    assert steps[0] == inspect_checkpoint(tiny_policy).weights_hash
    held = load_file(tmp_path / "straight/state/optimizer.safetensors")
    assert all("lora_" in name for name in held)  # nothing of the frozen weights
    gaps = [line["check/rollout_logprob_gap"] for line in read_metrics(tmp_path / "straight")]
    assert max(gaps) < 1e-3  # rollouts came from the adapted model


def test_adapters_without_peft_name_the_extra(
    tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"lora_rank=2: needs peft.*\.\[lora\]"):
        train(config(tiny_policy, lora_rank=2), tmp_path / "run", report=quiet)


@pytest.mark.usefixtures("odd_is_right")
def test_bfloat16_weights_are_trained_and_saved_as_such(tiny_policy: Path, tmp_path: Path) -> None:
    plan = config(tiny_policy, weight_dtype="bfloat16", dtype="bfloat16", learning_rate=0.02, steps=2)
    train(plan, tmp_path / "run", report=quiet)
    weights = load_file(tmp_path / "run/checkpoints/step_000002/model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert digest(tmp_path / "run", 0) != digest(tmp_path / "run", 2)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("forward", ["padded", "tree"])
def test_recomputed_activations_give_the_same_gradient(
    tiny: ModuleType, made: ModuleType, tmp_path: Path, family: str, forward: str
) -> None:
    """GPT-2 has dropout of a tenth: it must stay off though the layers count as training."""
    folder = tiny.build_tiny(tmp_path, family)
    rows, gradients, calls = made.make_batch(0).rows, [], []
    for recomputed in (False, True):
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        use_tree_attention(model)
        if recomputed:
            checkpoint_activations(model)
        layer = next(m for m in model.modules() if type(m).__name__ in ("LlamaMLP", "GPT2MLP"))
        count: list[int] = []
        layer.register_forward_pre_hook(lambda *_, count=count: count.append(1))
        completion_logprobs(model, rows, 1.0, forward).logp_n.sum().backward()
        calls.append(len(count))
        gradients.append(tiny.gradient_of(model))
    assert calls == [1, 2]  # the second time in the backward pass
    assert torch.allclose(*gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("odd_is_right")
def test_recomputed_activations_leave_the_rollouts_alone(tiny_policy: Path, tmp_path: Path) -> None:
    runs = {}
    for on in (False, True):
        out = tmp_path / str(on)
        train(config(tiny_policy, activation_checkpointing=on, steps=2), out, report=quiet)
        runs[on] = [line["completion/mean_length"] for line in read_metrics(out)]
        assert max(line["check/rollout_logprob_gap"] for line in read_metrics(out)) < 1e-3
    assert runs[True] == runs[False]


def test_evaluating_puts_the_layers_flags_back(tiny_policy: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_policy).eval()
    checkpoint_activations(model)
    before = [module.training for module in model.modules()]
    assert any(before)
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before


@pytest.mark.parametrize(
    ("schedule", "want"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 0.8, 0.6, 0.4, 0.2]),
        ("cosine", [0.5, 1.0, 0.2 + 0.8 * (1 + 2**-0.5) / 2, 0.6, 0.2 + 0.8 * (1 - 2**-0.5) / 2, 0.2]),
    ],
)
def test_schedules(schedule: str, want: list[float]) -> None:
    plan = config(
        "embedded",
        steps=6,
        checkpoint_every=1,
        schedule=schedule,
        warmup_steps=2,
        learning_rate=1.0,
        learning_rate_end=0.2,
    )
    np.testing.assert_allclose([learning_rate(plan, step) for step in range(1, 7)], want, rtol=1e-12)


def test_without_a_warm_up_the_first_step_has_the_full_rate() -> None:
    plan = config("embedded", schedule="cosine", learning_rate=1.0)
    assert learning_rate(plan, 1) == 1.0
    assert learning_rate(plan, 4) == pytest.approx(0.0, abs=1e-15)
    assert learning_rate(config("embedded", steps=1, checkpoint_every=1, learning_rate=1.0), 1) == 1.0


@pytest.mark.usefixtures("odd_is_right")
def test_the_optimizer_steps_at_the_scheduled_rate(tiny_policy: Path, tmp_path: Path) -> None:
    train(config(tiny_policy, schedule="linear", warmup_steps=1), tmp_path / "run", report=quiet)
    rates = [line["learning_rate"] for line in read_metrics(tmp_path / "run")]
    np.testing.assert_allclose(rates, [1e-3, 1e-3 * 2 / 3, 1e-3 / 3, 0.0], atol=1e-18)
    still = config(tiny_policy, schedule="linear", warmup_steps=1, steps=1, checkpoint_every=1)
    train(still.model_copy(update={"learning_rate": 0.0}), tmp_path / "still", report=quiet)
    assert digest(tmp_path / "still", 1) == digest(tmp_path / "still", 0)


def test_problems_with_long_prompts_are_left_out_and_counted(tiny: ModuleType) -> None:
    problems, said = load_problems("add2", "train")[:200], []
    tokenizer = tiny.char_tokenizer()
    kept = fitting(problems, tokenizer, "add2", 5, said.append)
    assert 0 < len(kept) < 200
    assert all(len(problem.question.replace(" ", "")) + 1 <= 5 for problem in kept)
    assert said == [f"{200 - len(kept)} of 200 problems left out: their prompts have more than 5 tokens"]
    assert fitting(problems, tokenizer, "add2", 99, said.append) == problems
    assert len(said) == 1
    with pytest.raises(UserError, match=r"prompts of 2 tokens: the shortest of 'add2' has 4"):
        fitting(problems, tokenizer, "add2", 2, said.append)


def test_a_completion_longer_than_the_policy_is_refused(tiny_policy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"max_new_tokens=512: policy .* has 512 positions"):
        train(config(tiny_policy, max_new_tokens=512), tmp_path / "run", report=quiet)


def launched(out: Path, *launch: str) -> subprocess.Popen[str]:
    options = ["embedded", "--set", "steps=4", "--set", "checkpoint_every=2", "--set", "problems_per_step=4"]
    return subprocess.Popen(
        [sys.executable, *launch, "-m", "trainer", "run", *options, "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_all(pid: int) -> None:
    """SIGKILL the launcher and its workers, which it puts into sessions of their own."""
    family = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
    for one in family:
        one.kill()


@pytest.mark.exhaustive
def test_a_run_on_two_processes_is_the_run_on_one(tmp_path: Path) -> None:
    """torchrun with FSDP2 and gloo; sums run in another order, so it is equal to rounding, not to the byte.

    Killed and started again, it is equal to itself to the byte.
    """
    two = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    for name, launch in (("one", ()), ("two", two), ("killed", two), ("killed", two)):
        with launched(tmp_path / name, *launch) as process:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if name == "killed" and line.startswith("step 0003") and not (tmp_path / "again").exists():
                    (tmp_path / "again").touch()
                    kill_all(process.pid)
        said = "".join(lines)
        assert said.count("step 0003/0004") == 1  # one process talks
    assert "from step 2" in said
    one, other = (read_metrics(tmp_path / name) for name in ("one", "two"))
    for ours, theirs in zip(other, one, strict=True):
        assert ours["reward/mean"] == theirs["reward/mean"]  # the same rollouts
        assert ours["normaliser"] == theirs["normaliser"]
        assert ours["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-4)
    final = "checkpoints/step_000004"
    states = [load_file(tmp_path / name / final / "model.safetensors") for name in ("one", "two")]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert (states[1][name] - tensor).abs().max() < 1e-4, name
    configs = [(tmp_path / name / final / "config.json").read_text() for name in ("one", "two")]
    assert configs[0] == configs[1]
    assert digest(tmp_path / "killed", 4) == digest(tmp_path / "two", 4)
    logs = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("killed", "two")]
    assert logs[0] == logs[1]
