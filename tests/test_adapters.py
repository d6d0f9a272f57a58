"""LoRA adapters as checkpoints: hashed by content, merged as peft would, and never run as code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tasks.checkpoints import inspect_checkpoint
from tasks.engines import Engine, open_engine
from tasks.engines.forward import load_model, load_tokenizer, score
from tasks.engines.proof import check_architecture, probe_prompts, stored_tensors
from tasks.errors import UserError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def save_adapter(base: Path, folder: Path, *, seed: int = 0, **plan: Any) -> Path:
    """Let peft write an adapter that changes its base's log-probs by whole nats."""
    peft: Any = pytest.importorskip("peft")
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | plan
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = peft.get_peft_model(model, peft.LoraConfig(**settings))
        for name, parameter in adapted.named_parameters():
            if ".lora_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    adapted.save_pretrained(folder)
    return folder


def by_peft(base: Path, folder: Path) -> list[list[float]]:
    """Return the log-probs of the probes by peft's own model with the adapter beside its layers."""
    import peft

    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()
    return score(model, probe_prompts(base, 30), 8)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def base(tiny: ModuleType, tmp_path: Path) -> Path:
    return tiny.build_tiny(tmp_path / "base")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return save_adapter(base, tmp_path / "adapter")


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("odd", [False, True])
def test_merged_weights_say_what_the_adapter_says(
    tiny: ModuleType, tmp_path: Path, family: str, odd: bool
) -> None:
    base = tiny.build_tiny(tmp_path / "base", family)
    plan: dict[str, Any] = {"fan_in_fan_out": family == "gpt2"}
    if odd:
        plan |= {"use_rslora": True, "rank_pattern": {"c_attn" if family == "gpt2" else "q_proj": 2}}
    folder = save_adapter(base, tmp_path / "adapter", **plan)
    wanted = by_peft(base, folder)
    merged = load_model(base, "float32", "cpu")
    plain = score(merged, probe_prompts(base, 30), 8)
    merged.load_state_dict(dict(stored_tensors(folder)), strict=False)
    for ours, theirs, untouched in zip(score(merged, probe_prompts(base, 30), 8), wanted, plain, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)
        assert max(abs(one - other) for one, other in zip(theirs, untouched, strict=True)) > 0.5
    for ours, theirs in zip(
        score(load_model(folder, "float32", "cpu"), probe_prompts(base, 30), 8), wanted, strict=True
    ):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)


@pytest.fixture(scope="module", params=["transformers", pytest.param("vllm", marks=pytest.mark.vllm)])
def served(
    request: pytest.FixtureRequest, tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, Path]]:
    folder = tiny.build_tiny(tmp_path_factory.mktemp("served") / "base")
    engine = open_engine(request.param, folder, max_model_len=64)
    yield engine, folder
    engine.close()


def test_engines_serve_adapters_between_whole_models(served: tuple[Engine, Path], tmp_path: Path) -> None:
    engine, base = served
    adapters = [save_adapter(base, tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    probes = probe_prompts(base, 30)
    plain = score(load_model(base, "float32", "cpu"), probes, 8)
    expected = [by_peft(base, folder) for folder in adapters]
    for folder, wanted in [(adapters[0], expected[0]), (adapters[1], expected[1]), (base, plain)]:
        engine.swap(folder)
        for ours, theirs in zip(engine.token_logprobs(probes), wanted, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)


def test_an_engine_opens_on_an_adapter(base: Path, adapter: Path) -> None:
    engine = open_engine("transformers", adapter, max_model_len=64)
    probes = probe_prompts(base, 30)
    for ours, theirs in zip(engine.token_logprobs(probes), by_peft(base, adapter), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)


def test_the_hash_is_of_base_and_adapter(tiny: ModuleType, base: Path, adapter: Path, tmp_path: Path) -> None:
    first, plain = inspect_checkpoint(adapter), inspect_checkpoint(base)
    assert first.folder == adapter
    assert (first.tokenizer_hash, first.asking_hash) == (plain.tokenizer_hash, plain.asking_hash)
    assert first.bytes == plain.bytes + (adapter / WEIGHTS).stat().st_size
    hashes = [plain.weights_hash, first.weights_hash]
    moved = shutil.copytree(base, tmp_path / "moved")
    edit(adapter / CONFIG, base_model_name_or_path="../moved", lora_dropout=0.1, inference_mode=False)
    assert inspect_checkpoint(adapter).weights_hash == first.weights_hash  # the same content elsewhere
    edit(adapter / CONFIG, lora_alpha=4)
    hashes.append(inspect_checkpoint(adapter).weights_hash)
    shutil.rmtree(moved)
    tiny.build_tiny(moved, seed=1)
    hashes.append(inspect_checkpoint(adapter).weights_hash)
    raw = bytearray((adapter / WEIGHTS).read_bytes())
    raw[-1] ^= 1
    (adapter / WEIGHTS).write_bytes(bytes(raw))
    hashes.append(inspect_checkpoint(adapter).weights_hash)
    assert len(set(hashes)) == 5


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_an_adapter_whose_start_changed_the_base_is_refused(base: Path, tmp_path: Path, start: str) -> None:
    """peft takes its principal part out of the base, which the adapter's folder does not hold."""
    folder = save_adapter(base, tmp_path / "adapter", init_lora_weights=start)
    with pytest.raises(UserError, match=f"init_lora_weights='{start}' changes the base"):
        inspect_checkpoint(folder)


@pytest.mark.parametrize("start", [False, "gaussian", "orthogonal"])
def test_adapters_of_other_sound_starts_are_what_peft_says(base: Path, tmp_path: Path, start: Any) -> None:
    folder = save_adapter(base, tmp_path / "adapter", init_lora_weights=start)
    inspect_checkpoint(folder)
    ours = score(load_model(folder, "float32", "cpu"), probe_prompts(base, 30), 8)
    for one, other in zip(ours, by_peft(base, folder), strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-4)


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (pickled, "only adapter_model.bin; want adapter_model.safetensors: save with safetensors"),
        (lambda folder: (folder / WEIGHTS).unlink(), "no weights; want adapter_model.safetensors"),
        (lambda folder: edit(folder / CONFIG, peft_type="IA3"), "peft_type='IA3', only 'LORA' is read"),
        (lambda folder: edit(folder / CONFIG, use_dora=True), "use_dora=True is not read here; merge it"),
        (
            lambda folder: edit(folder / CONFIG, init_lora_weights="pissa_niter_4"),
            "init_lora_weights='pissa_niter_4' changes the base, which is not read here; merge it",
        ),
        (lambda folder: edit(folder / CONFIG, bias="all"), "bias='all' is not read here"),
        (
            lambda folder: edit(folder / CONFIG, megatron_config={"a": 1}, megatron_core="os"),
            "megatron_config=.* is not read here",
        ),
        (
            lambda folder: edit(folder / CONFIG, base_model_name_or_path="someone/else"),
            "'someone/else' is no model's folder on this machine; write its path there",
        ),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "another tokenizer than its base's"),
        (
            lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1]),
            "cut off or overwritten",
        ),
    ],
)
def test_faults_of_adapters_are_named(adapter: Path, harm: Callable[[Path], None], message: str) -> None:
    harm(adapter)
    with pytest.raises(UserError, match=message) as caught:
        inspect_checkpoint(adapter)
    assert "\n" not in str(caught.value)


def test_an_adapter_of_another_model_is_refused(tiny: ModuleType, adapter: Path, tmp_path: Path) -> None:
    tiny.build_tiny(tmp_path / "gpt2", "gpt2")
    edit(adapter / CONFIG, base_model_name_or_path=str(tmp_path / "gpt2"))
    with pytest.raises(UserError, match="does not fit"):
        list(stored_tensors(adapter))


def plant_code(folder: Path, mark: Path, model_type: str) -> None:
    """Make a checkpoint from outside that asks for its own code, which would leave a mark."""
    text = f"open({str(mark)!r}, 'w').close()\nfrom transformers import *\n"
    for name in ("modeling_own.py", "configuration_own.py", "tokenization_own.py"):
        (folder / name).write_text(text)
    own = {
        "AutoConfig": "configuration_own.LlamaConfig",
        "AutoModelForCausalLM": "modeling_own.LlamaForCausalLM",
    }
    edit(folder / "config.json", auto_map=own, trust_remote_code=True, model_type=model_type)
    edit(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": [None, "tokenization_own.PreTrainedTokenizerFast"]},
    )


@pytest.mark.parametrize("model_type", ["llama", "its_own"])
def test_code_of_a_checkpoint_is_not_run(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str
) -> None:
    mark = tmp_path / "was_run"
    plant_code(base, mark, model_type)
    monkeypatch.setattr("builtins.input", lambda prompt="": "y")  # whoever asks is told yes
    inspect_checkpoint(base)
    load_tokenizer(base)
    uses: list[Callable[[], object]] = [
        lambda: load_model(base, "float32", "cpu"),
        lambda: check_architecture(base, base),
        lambda: open_engine("transformers", base, max_model_len=64),
    ]
    for use in uses:
        if model_type == "llama":  # transformers has its own Llama
            use()
        else:
            with pytest.raises(UserError, match=r"its own code .* is not run"):
                use()
    assert not mark.exists()


@pytest.mark.vllm
def test_vllm_runs_no_code_of_a_checkpoint(base: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was_run"
    plant_code(base, mark, "llama")
    open_engine("vllm", base, max_model_len=64).close()
    assert not mark.exists()
