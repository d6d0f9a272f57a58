"""Which engine is opened, and what every engine refuses or says of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tasks.engines import Engine, Finish, Request, Sampling, open_engine, select, vllm_engine
from tasks.engines.rows import end_token_ids
from tasks.errors import UserError

EOS = 2
SAMPLED = Sampling(temperature=1.0, max_new_tokens=10)
GREEDY = Sampling(temperature=0, max_new_tokens=10)
MixedRequests = Callable[..., list[Request]]


def start(folder: Path, **options: Any) -> Engine:
    return open_engine("transformers", folder, **({"max_model_len": 64} | options))


def test_end_tokens_of_every_file_stop(tiny: ModuleType, tmp_path: Path) -> None:
    folder = tiny.build_tiny(tmp_path / "policy")
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(generation | {"eos_token_id": [7, 9]}))
    assert end_token_ids(folder) == {EOS, 7, 9}
    (group,) = start(folder).generate([Request(prompt=(5, 6), seeds=tuple(range(64)))], SAMPLED)
    assert {one.tokens[-1] for one in group if one.finish is Finish.STOP} == {EOS, 7, 9}
    assert not {EOS, 7, 9} & {token for one in group for token in one.tokens[:-1]}
    engine = start(tiny.build_tiny(tmp_path / "other"))
    engine.swap(folder)  # the ends come with the checkpoint
    assert engine.effective_sampling(SAMPLED)["stop_token_ids"] == "2,7,9"


def test_no_end_token_is_an_error(tiny: ModuleType, tmp_path: Path) -> None:
    folder = tiny.build_tiny(tmp_path / "policy")
    for name, left in (
        ("generation_config.json", {EOS}),
        ("config.json", {EOS}),
        ("tokenizer_config.json", {}),
    ):
        content = json.loads((folder / name).read_text())
        del content["eos_token" if name.startswith("tok") else "eos_token_id"]
        (folder / name).write_text(json.dumps(content))
        assert not left or end_token_ids(folder) == left
    with pytest.raises(UserError, match="no end-of-sequence token; set eos_token_id"):
        end_token_ids(folder)


@pytest.mark.parametrize(
    ("requests", "sampling", "message"),
    [
        ([Request(prompt=())], GREEDY, "a prompt of 0 tokens"),
        ([Request(prompt=(3,))], replace(GREEDY, temperature=-1.0), "temperature=-1.0: must be 0"),
        ([Request(prompt=(3,))], replace(GREEDY, temperature=float("nan")), "temperature=nan: must be 0"),
        ([Request(prompt=(3,))], replace(GREEDY, max_new_tokens=0), "max_new_tokens=0: must be 1"),
        (
            [Request(prompt=(3,) * 60)],
            GREEDY,
            "60 tokens and max_new_tokens=10 need more than max_model_len=64",
        ),
    ],
)
def test_bad_calls_are_named(
    tiny_policy: Path, requests: list[Request], sampling: Sampling, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        start(tiny_policy).generate(requests, sampling)


def test_nothing_asked_nothing_said(tiny_policy: Path) -> None:
    engine = start(tiny_policy)
    assert engine.generate([], SAMPLED) == []
    assert engine.generate([Request(prompt=(3, 4), seeds=())], SAMPLED) == [[]]
    assert engine.token_logprobs([]) == []
    assert engine.token_logprobs([(3,)]) == [[]]


def test_room_is_checked_when_opening(tiny_policy: Path) -> None:
    with pytest.raises(UserError, match=r"max_model_len=513: .* has 512 positions"):
        start(tiny_policy, max_model_len=513)


def test_what_the_engine_says_of_itself(tiny_policy: Path) -> None:
    engine = start(tiny_policy, dtype="bfloat16")
    assert engine.describe().items() >= {"engine": "transformers", "dtype": "bfloat16"}.items()
    effective = engine.effective_sampling(SAMPLED)
    assert effective.items() >= {"temperature": 1.0, "max_tokens": 10, "stop_token_ids": "2"}.items()
    engine.close()


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool, Exception | None], None]:
    """Return a function that makes vLLM look absent, or installed and broken."""

    def act(installed: bool, error: Exception | None) -> None:
        def loading() -> None:
            if error is not None:
                raise error

        monkeypatch.setattr(select, "vllm_installed", lambda: installed)
        monkeypatch.setattr(vllm_engine, "load_vllm", loading)
        monkeypatch.setattr(select, "vllm_problem", select.vllm_problem.__wrapped__)  # without its cache

    return act


def test_auto_without_vllm_is_silent(
    tiny_policy: Path, pretend: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(False, None)
    assert open_engine("auto", tiny_policy, max_model_len=64).name == "transformers"
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match=r"vllm is not installed; use --engine transformers, or install it"):
        open_engine("vllm", tiny_policy, max_model_len=64)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("no module x\nlong story"),
        OSError("libx.so: missing"),
        RuntimeError("operator nms"),
        KeyError(),
    ],
)
def test_auto_says_why_a_broken_vllm_is_not_used(
    tiny_policy: Path, pretend: Callable[..., None], capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    pretend(True, error)
    assert open_engine("auto", tiny_policy, max_model_len=64).name == "transformers"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert type(error).__name__ in said
    assert "long story" not in said
    with pytest.raises(UserError, match=type(error).__name__):
        open_engine("vllm", tiny_policy, max_model_len=64)


def test_an_unknown_engine_is_named(tiny_policy: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'vllm'"):
        open_engine("vlm", tiny_policy, max_model_len=64)  # type: ignore[arg-type]


def test_the_seam_imports_no_torch() -> None:
    modules = "tasks.engines.select, tasks.engines.rows, tasks.engines.proof, tasks.checkpoints"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
