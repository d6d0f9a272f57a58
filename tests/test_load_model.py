"""A folder that is not the model of its config is refused in one line; nothing is drawn in its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.checkpoints import inspect_checkpoint
from tasks.engines import open_engine
from tasks.engines.forward import load_model
from tasks.errors import UserError

WEIGHTS = "model.safetensors"
LAYER = "model.layers.1.mlp.down_proj.weight"


def keep(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a tensor less": (
        lambda folder: keep(folder, lambda held: {name: held[name] for name in held if name != LAYER}),
        f"tensor '{LAYER}' is missing in the architecture of its config.json \\(1 does\\); copy or save",
    ),
    "a layer less": (
        lambda folder: keep(
            folder, lambda held: {name: held[name] for name in held if "layers.1." not in name}
        ),
        r"is missing in the architecture of its config.json \(9 do\)",
    ),
    "a tensor more": (
        lambda folder: keep(folder, lambda held: held | {"v_head.weight": torch.ones(2)}),
        "tensor 'v_head.weight' has no place in the architecture",
    ),
    "layers said less": (lambda folder: edit(folder, num_hidden_layers=1), "layers.1.* has no place"),
    "layers said more": (lambda folder: edit(folder, num_hidden_layers=3), "layers.2.* is missing"),
    "width": (lambda folder: edit(folder, hidden_size=128), "does not fit in the architecture"),
    "heads": (lambda folder: edit(folder, num_attention_heads=3), "transformers cannot read it|does not fit"),
    "activation": (lambda folder: edit(folder, hidden_act="nonsense"), "cannot read it .*nonsense"),
    "a number as a text": (lambda folder: edit(folder, num_hidden_layers="two"), "cannot read it"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_the_model_of_its_config_is_refused(tiny: ModuleType, tmp_path: Path, fault: str) -> None:
    folder = tiny.build_tiny(tmp_path / "policy")
    harm, message = FAULTS[fault]
    harm(folder)
    inspect_checkpoint(folder)  # the files are whole; only the architecture knows
    uses: list[Callable[[], Any]] = [
        lambda: load_model(folder, "float32", "cpu"),
        lambda: open_engine("transformers", folder, max_model_len=64),
    ]
    for use in uses:
        with pytest.raises(UserError, match=message) as caught:
            use()
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt2"])
@pytest.mark.parametrize("tied", [False, True])
def test_tied_embeddings_may_stand_once(tiny: ModuleType, tmp_path: Path, family: str, tied: bool) -> None:
    folder = tiny.build_tiny(tmp_path / "policy", family, tied=tied)
    assert ("lm_head.weight" in load_file(folder / WEIGHTS)) is not tied
    load_model(folder, "float32", "cpu")
    keep(folder, lambda held: {name: held[name] for name in held if name != "lm_head.weight"})
    if tied:
        load_model(folder, "float32", "cpu")
    else:
        with pytest.raises(UserError, match=r"'lm_head.weight' is missing"):
            load_model(folder, "float32", "cpu")
