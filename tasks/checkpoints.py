"""Is a folder a checkpoint that can be scored? Every fault is named before an engine is started. No torch."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tasks.asking import AGAIN, asking_hash, config_hash, read_json, vocabulary
from tasks.errors import UserError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1}
CHUNK_BYTES = 1 << 22
ADAPTER_CONFIG = "adapter_config.json"
LORA_KEYS: dict[str, Any] = {
    "r": None,
    "lora_alpha": None,
    "target_modules": None,
    "exclude_modules": None,
    "fan_in_fan_out": False,
    "use_rslora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "layers_to_transform": None,
    "layers_pattern": None,
}
"""What decides the weights that a LoRA adapter stands for, with the values of adapters that do not say."""
NOT_READ = {"peft_type", "task_type", "base_model_name_or_path", "peft_version", "revision", "auto_mapping"}
NOT_READ |= {"inference_mode", "init_lora_weights", "lora_dropout", "megatron_core", "qalora_group_size"}
"""Keys of an adapter's config that change nothing once it is trained, as long as the others are not set."""
SOUND_INIT = (None, True, False, "gaussian", "orthogonal")
"""Values of init_lora_weights that leave the base as it is; PiSSA, OLoRA, CorDA and the like change it."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose files are whole."""

    folder: Path
    weights_hash: str
    """sha256 over the tensors by name: name, dtype, shape, bytes. Sharding and metadata do not matter."""
    tokenizer_hash: str
    """sha256 of tokenizer.json."""
    bytes: int
    """Of the weight files."""
    asking_hash: str = ""
    """sha256 of how it is asked and read: chat template, ends, special tokens (`tasks.asking`)."""
    config_hash: str = ""
    """sha256 of what config.json says about the function of the weights."""

    @property
    def id(self) -> str:
        """Name of the content: two folders of one name give the same texts."""
        parts = [self.weights_hash, self.tokenizer_hash, self.asking_hash, self.config_hash]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


class StoredTensor(NamedTuple):
    """Where the bytes of one tensor lie: file[start:end]."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int


def inspect_checkpoint(folder: Path) -> Checkpoint:
    """Check config, weights and tokenizer of an HF folder, and hash what decides its answers.

    A folder with a LoRA adapter (peft) counts as its base with the adapter.

    Raises:
        UserError: anything missing, truncated, corrupt or not in safetensors.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the path of a checkpoint folder")
    if is_adapter(folder):
        return _inspect_adapter(folder)
    config = read_json(folder / "config.json")
    files = weight_files(folder)
    tensors = [tensor for file in files for tensor in read_header(file)]
    _check_names(folder, tensors)
    _check_vocabulary(folder, config.get("vocab_size"))
    tokenizer_hash = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    size = sum(file.stat().st_size for file in files)
    return Checkpoint(
        folder, _hash_tensors(tensors), tokenizer_hash, size, asking_hash(folder), config_hash(config)
    )


def is_adapter(folder: Path) -> bool:
    """Say whether a folder holds a LoRA adapter (peft) and no whole model."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file()


def model_folder(folder: Path) -> Path:
    """Return the folder of config and tokenizer: that of the base where `folder` holds a LoRA adapter.

    Raises:
        UserError: the base is not on this machine.
    """
    if not is_adapter(folder):
        return folder
    named = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    base = folder / str(named or "")  # an absolute path stays what it is
    if not named or not base.is_dir() or is_adapter(base):
        raise UserError(
            f"{folder / ADAPTER_CONFIG}: base_model_name_or_path={named!r} is no model's folder on this "
            "machine; write its path there, absolute or from the adapter's folder"
        )
    return base


def _inspect_adapter(folder: Path) -> Checkpoint:
    """Check an adapter and its base; the weights' hash covers both and how they are put together."""
    config = read_json(folder / ADAPTER_CONFIG)
    if config.get("peft_type") != "LORA":
        raise UserError(
            f"{folder / ADAPTER_CONFIG}: peft_type={config.get('peft_type')!r}, only 'LORA' is read; "
            "merge it with peft and save the whole model"
        )
    if (start := config.get("init_lora_weights")) not in SOUND_INIT:
        raise UserError(
            f"{folder / ADAPTER_CONFIG}: init_lora_weights={start!r} changes the base, which is not read "
            "here; merge it with peft and save the whole model"
        )
    others = {key: config[key] for key in config.keys() - LORA_KEYS.keys() - NOT_READ}
    odd = sorted(key for key, value in others.items() if value not in (None, False, "none", [], {}))
    if odd:
        raise UserError(
            f"{folder / ADAPTER_CONFIG}: {odd[0]}={others[odd[0]]!r} is not read here; "
            "merge it with peft and save the whole model"
        )
    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        found = "only adapter_model.bin" if (folder / "adapter_model.bin").is_file() else "no weights"
        raise UserError(f"{folder}: {found}; want {file.name}: save with safetensors")
    base = inspect_checkpoint(model_folder(folder))
    own = folder / "tokenizer.json"
    if own.is_file() and hashlib.sha256(own.read_bytes()).hexdigest() != base.tokenizer_hash:
        raise UserError(f"{own}: another tokenizer than its base's; merge it and save the whole model")
    put_together = {key: config.get(key, default) for key, default in LORA_KEYS.items()}
    parts = [base.weights_hash, _hash_tensors(read_header(file)), put_together]
    weights_hash = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return replace(base, folder=folder, weights_hash=weights_hash, bytes=base.bytes + file.stat().st_size)


def check_tokenizer(checkpoint: Checkpoint, expected_hash: str, source: str) -> None:
    """Refuse a checkpoint whose tokenizer is not the one that `source` was made with."""
    if checkpoint.tokenizer_hash != expected_hash:
        raise UserError(
            f"{checkpoint.folder}: its tokenizer.json is {checkpoint.tokenizer_hash[:12]}, {source} wants "
            f"{expected_hash[:12]}; token ids would mean other text: use the tokenizer of {source}"
        )


def check_asking(checkpoint: Checkpoint, other: Checkpoint) -> None:
    """Refuse a checkpoint that would be asked, or whose texts would be read, otherwise than another one."""
    if checkpoint.asking_hash != other.asking_hash:
        raise UserError(
            f"{checkpoint.folder}: has another chat template, end token, special token or tokenizer "
            f"setting than {other.folder}, so their texts do not compare; copy chat_template.jinja, "
            "tokenizer_config.json and generation_config.json from there, and eos_token_id of config.json"
        )


def weight_files(folder: Path) -> list[Path]:
    """Name the safetensors files of a folder: the single one, or the shards of the index."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not (folder / INDEX).is_file():
        others = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth"))
        found = f"only {', '.join(others)}" if others else "no weights"
        raise UserError(f"{folder}: {found}; want {SINGLE} or {INDEX}: save with safetensors")
    named = read_json(folder / INDEX).get("weight_map")
    shards = {str(name) for name in named.values()} if isinstance(named, dict) else set()
    if not shards or any(Path(shard).name != shard for shard in shards):
        raise UserError(f"{folder / INDEX}: want a weight_map from tensors to files beside it; {AGAIN}")
    for shard in sorted(shards):
        if not (folder / shard).is_file():
            raise UserError(f"{folder / shard}: the index names this shard and it is missing; {AGAIN}")
    return [folder / shard for shard in sorted(shards)]


def read_header(file: Path) -> list[StoredTensor]:
    """Parse a safetensors header and check it against the file's size.

    Layout: 8 bytes little-endian header length, a JSON header, then the tensors without gaps.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 + length or length < 2:
            raise UserError(f"{file}: {size} bytes for a header of {length}: cut off or corrupt; {AGAIN}")
        raw = stream.read(length)
    try:
        entries = json.loads(raw)
        entries.pop("__metadata__", None)
        base = 8 + length
        tensors = [_stored(file, name, entry, base) for name, entry in entries.items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{file}: its header is corrupt; {AGAIN}") from None
    _check_layout(file, tensors, base, size)
    return tensors


def _check_layout(file: Path, tensors: list[StoredTensor], end: int, size: int) -> None:
    for tensor in sorted(tensors, key=lambda one: (one.start, one.end)):
        held = tensor.end - tensor.start
        wanted = ITEM_BYTES[tensor.dtype] * math.prod(tensor.shape) if tensor.dtype in ITEM_BYTES else held
        if tensor.start != end or held < 0 or held != wanted:
            raise UserError(f"{file}: the bytes of {tensor.name!r} do not fit its header; {AGAIN}")
        end = tensor.end
    if end != size:
        raise UserError(f"{file}: {size} bytes, its header wants {end}: cut off or overwritten; {AGAIN}")


def _stored(file: Path, name: str, entry: dict[str, Any], base: int) -> StoredTensor:
    start, end = (int(offset) for offset in entry["data_offsets"])
    shape = tuple(int(axis) for axis in entry["shape"])
    return StoredTensor(name, str(entry["dtype"]), shape, file, base + start, base + end)


def _check_names(folder: Path, tensors: list[StoredTensor]) -> None:
    held = {tensor.name: tensor.file.name for tensor in tensors}
    if len(held) != len(tensors) or not held:
        raise UserError(f"{folder}: no tensor, or one tensor in two shards; {AGAIN}")
    named = held if (folder / SINGLE).is_file() else read_json(folder / INDEX)["weight_map"]
    wrong = sorted(name for name in held.keys() | named.keys() if held.get(name) != named.get(name))
    if wrong:
        raise UserError(f"{folder / INDEX}: index and shards disagree about {wrong[0]!r}; {AGAIN}")


def _check_vocabulary(folder: Path, rows: object) -> None:
    last = max((number for _, number in vocabulary(folder)), default=-1)
    if isinstance(rows, int) and rows <= last:
        raise UserError(
            f"{folder}: config.json has vocab_size={rows}, tokenizer.json goes up to id {last}; "
            "save the tokenizer the model was trained with"
        )


def _hash_tensors(tensors: list[StoredTensor]) -> str:
    digest = hashlib.sha256()
    for tensor in sorted(tensors):
        digest.update(json.dumps([tensor.name, tensor.dtype, tensor.shape]).encode() + b"\n")
        with tensor.file.open("rb") as stream:
            stream.seek(tensor.start)
            for start in range(tensor.start, tensor.end, CHUNK_BYTES):
                digest.update(stream.read(min(CHUNK_BYTES, tensor.end - start)))
    return digest.hexdigest()
