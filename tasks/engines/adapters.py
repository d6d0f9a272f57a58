"""LoRA checkpoints (peft): an adapter's folder as the plain weights it stands for. Needs the package peft.

Engines take merged weights alone, so an adapter is served like any other checkpoint. The trusted forward that
they are proved with is the model with the adapter beside its layers: each load proves merged = adapter.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.asking import read_json
from tasks.checkpoints import ADAPTER_CONFIG, LORA_KEYS, model_folder
from tasks.errors import UserError


def with_adapter(model: Any, folder: Path) -> Any:
    """Put a folder's adapter beside the layers of its base model, which it changes.

    Raises:
        UserError: peft is not installed, or the adapter does not fit the base.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
    except ImportError:
        raise UserError(f"{folder}: an adapter needs peft; run `pip install -e .[lora]`") from None
    from safetensors.torch import load_file

    held = read_json(folder / ADAPTER_CONFIG)
    # Only what `tasks.checkpoints` knows as harmless: other keys of the file can name modules to import.
    plan = LoraConfig(**{key: held[key] for key in LORA_KEYS if key in held}, lora_dropout=0.0)
    try:
        with torch.random.fork_rng(devices=[]):  # peft draws what is overwritten at once
            model = inject_adapter_in_model(plan, model)
        found = set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{folder}: the adapter does not fit {model_folder(folder)} ({error})") from None
    lost = [*found.unexpected_keys, *(name for name in found.missing_keys if ".lora_" in name)]
    if lost:
        raise UserError(f"{folder}: {lost[0]!r} does not fit {model_folder(folder)}; give the adapter's base")
    return model.eval()


def merged_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) of every weight of the base with the adapter added, in float32; tied ones once."""
    from peft.tuners.lora import LoraLayer

    from tasks.engines.forward import load_model

    model = load_model(folder, "float32", "cpu")
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
    for name, parameter in model.named_parameters():
        if ".lora_" not in name:
            yield name.replace(".base_layer.", "."), parameter.detach()
