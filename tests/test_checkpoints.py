"""Whole checkpoints are hashed by what they hold; every broken one is named before an engine starts."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tasks.asking import vocabulary
from tasks.checkpoints import check_asking, check_tokenizer, inspect_checkpoint, read_header
from tasks.errors import UserError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture
def folder(tiny_policy: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may break."""
    return Path(shutil.copytree(tiny_policy, tmp_path / "policy"))


@pytest.fixture
def sharded(folder: Path, tmp_path: Path) -> Path:
    """Return the same model in several shards."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="60KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / "sharded" / name)
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    return tmp_path / "sharded"


def by_definition(tensors: dict[str, torch.Tensor]) -> str:
    """sha256 over name, dtype, shape and bytes, sorted by name, from loaded tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        assert tensor.dtype is torch.float32
        digest.update(json.dumps([name, "F32", list(tensor.shape)]).encode() + b"\n")
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def with_header(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the header of a safetensors file and leave the tensors."""
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


def reverse(header: dict[str, Any]) -> None:
    entries = list(header.items())[::-1]
    header.clear()
    header.update(entries)


def test_hashes_follow_their_definition(folder: Path) -> None:
    found = inspect_checkpoint(folder)
    assert found.weights_hash == by_definition(load_file(folder / WEIGHTS))
    assert found.tokenizer_hash == hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    assert found.bytes == (folder / WEIGHTS).stat().st_size
    assert found.folder == folder


def test_sharding_and_metadata_do_not_change_the_hash(folder: Path, sharded: Path) -> None:
    found = inspect_checkpoint(folder)
    assert inspect_checkpoint(sharded).weights_hash == found.weights_hash
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS, metadata={"format": "pt", "note": "again"})
    assert inspect_checkpoint(folder).weights_hash == found.weights_hash
    with_header(folder / WEIGHTS, reverse)
    assert inspect_checkpoint(folder).weights_hash == found.weights_hash


def test_one_bit_a_name_or_a_dtype_changes_the_hash(folder: Path) -> None:
    before = inspect_checkpoint(folder).weights_hash
    tensors = load_file(folder / WEIGHTS)
    raw = bytearray((folder / WEIGHTS).read_bytes())
    raw[-1] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(raw))
    hashes = {before, inspect_checkpoint(folder).weights_hash}
    first = min(tensors)
    for changed in (
        {f"{name}x" if name == first else name: tensor for name, tensor in tensors.items()},
        tensors | {first: tensors[first].view(torch.int32)},
        tensors | {first: tensors[first].reshape(-1)},
    ):
        save_file(changed, folder / WEIGHTS)
        hashes.add(inspect_checkpoint(folder).weights_hash)
    assert len(hashes) == 5


def test_headers_agree_with_the_safetensors_library(sharded: Path) -> None:
    for file in sharded.glob("*.safetensors"):
        for stored in read_header(file):
            tensor = load_file(file)[stored.name]
            assert stored.shape == tuple(tensor.shape)
            assert file.read_bytes()[stored.start : stored.end] == tensor.numpy().tobytes()


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def cut_in_the_header(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100])


def empty(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def lengthen(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes() + b"\0")


def garble(folder: Path) -> None:
    raw = bytearray((folder / WEIGHTS).read_bytes())
    raw[8:20] = b"\xff" * 12
    (folder / WEIGHTS).write_bytes(bytes(raw))


def overlap(folder: Path) -> None:
    """Let two tensors of one size share their bytes, as a header written by hand would."""
    key, value = (f"model.layers.0.self_attn.{name}_proj.weight" for name in "kv")
    with_header(
        folder / WEIGHTS, lambda header: header[key].update(data_offsets=header[value]["data_offsets"])
    )


def wrong_shape(folder: Path) -> None:
    with_header(folder / WEIGHTS, lambda header: header["model.norm.weight"].update(shape=[63]))


def no_offsets(folder: Path) -> None:
    with_header(folder / WEIGHTS, lambda header: header["model.norm.weight"].pop("data_offsets"))


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut, r"its header wants \d+: cut off or overwritten; copy or save the checkpoint again"),
        (cut_in_the_header, r"100 bytes for a header of \d+: cut off or corrupt"),
        (empty, "0 bytes for a header of 0: cut off or corrupt"),
        (lengthen, r"its header wants \d+: cut off or overwritten"),
        (garble, "its header is corrupt"),
        (overlap, "do not fit its header"),
        (wrong_shape, "the bytes of 'model.norm.weight' do not fit its header"),
        (no_offsets, "its header is corrupt"),
        (pickled, "only pytorch_model.bin; want model.safetensors .* save with safetensors"),
        (lambda folder: (folder / WEIGHTS).unlink(), "no weights; want model.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "config.json: no such file"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config.json: not readable as JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "want a JSON object, got list"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff"), r"config.json: not readable as JSON"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json: no such file"),
        (lambda folder: edit_json(folder / "tokenizer.json", added_tokens=[{}]), "not a tokenizer"),
        (
            lambda folder: (folder / "chat_template.jinja").write_bytes(b"\xff"),
            "chat_template.jinja: not readable as text .*; copy or save the checkpoint again",
        ),
        (
            lambda folder: edit_json(folder / "config.json", eos_token_id="2"),
            "config.json: eos_token_id='2'; want a token's id or a list of ids",
        ),
        (
            lambda folder: edit_json(folder / "generation_config.json", eos_token_id=[2, None]),
            r"generation_config.json: eos_token_id=\[2, None\]; want a token's id",
        ),
        (
            lambda folder: edit_json(folder / "config.json", vocab_size=18),
            "vocab_size=18, .* goes up to id 18",
        ),
        (shutil.rmtree, "no such folder; give the path of a checkpoint folder"),
    ],
)
def test_faults_are_named_in_one_line(folder: Path, harm: Callable[[Path], None], message: str) -> None:
    inspect_checkpoint(folder)
    harm(folder)
    with pytest.raises(UserError, match=message) as caught:
        inspect_checkpoint(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def first_shard(folder: Path) -> Path:
    return min(folder.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: first_shard(folder).unlink(), "the index names this shard and it is missing"),
        (lambda folder: edit_json(folder / INDEX, weight_map={}), "want a weight_map"),
        (lambda folder: edit_json(folder / INDEX, weight_map={"a": "../a.safetensors"}), "files beside it"),
        (lambda folder: edit_json(folder / INDEX, weight_map={"a": ["x"]}), "is missing"),
        (
            lambda folder: edit_json(folder / INDEX, weight_map={"a": first_shard(folder).name}),
            "index and shards disagree about 'a'",
        ),
        (
            lambda folder: shutil.copy(first_shard(folder), max(folder.glob("*.safetensors"))),
            "no tensor, or one tensor in two shards",
        ),
        (lambda folder: (folder / INDEX).unlink(), "no weights; want model.safetensors"),
    ],
)
def test_faults_of_shards_are_named(sharded: Path, harm: Callable[[Path], None], message: str) -> None:
    inspect_checkpoint(sharded)
    harm(sharded)
    with pytest.raises(UserError, match=message):
        inspect_checkpoint(sharded)


def test_another_tokenizer_is_refused_with_both_named(folder: Path) -> None:
    found = inspect_checkpoint(folder)
    check_tokenizer(found, found.tokenizer_hash, "the run")
    with pytest.raises(UserError, match=f"is {found.tokenizer_hash[:12]}, the run wants 000000000000;"):
        check_tokenizer(found, "0" * 64, "the run")


def test_vocabularies_of_both_kinds(tiny: ModuleType, folder: Path) -> None:
    words = dict(vocabulary(folder))
    assert words == tiny.char_tokenizer().get_vocab()
    pieces = {"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.0], ["b", -2.0]]}
    added = [{"id": 2, "content": "<eos>"}]
    edit_json(folder / "tokenizer.json", model=pieces, added_tokens=added)
    assert dict(vocabulary(folder)) == {"a": 0, "b": 1, "<eos>": 2}


def test_what_else_decides_texts_has_a_hash_of_its_own(folder: Path) -> None:
    before = inspect_checkpoint(folder)
    seen = {before.asking_hash}
    changes: list[Callable[[], Any]] = [
        lambda: (folder / "chat_template.jinja").write_text("{{ messages[0].content }}"),
        lambda: edit_json(folder / "generation_config.json", eos_token_id=[2, 3]),
        *(
            partial(edit_json, folder / "tokenizer_config.json", **change)
            for change in (
                {"clean_up_tokenization_spaces": True},
                {"add_bos_token": True},
                {"bos_token": "7"},
                {"additional_special_tokens": ["+"]},
                {"tokenizer_class": "LlamaTokenizer"},
            )
        ),
    ]
    for number, change in enumerate(changes, start=2):
        change()
        after = inspect_checkpoint(folder)
        assert len(seen := seen | {after.asking_hash}) == number
        assert (after.tokenizer_hash, after.weights_hash) == (before.tokenizer_hash, before.weights_hash)
        assert after.config_hash == before.config_hash
        assert after.id != before.id


def test_other_words_for_the_same_asking_have_one_hash(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    before = inspect_checkpoint(folder)
    (folder / "chat_template.jinja").unlink()
    edit_json(
        folder / "tokenizer_config.json",
        chat_template="{{ messages[0].content }}",
        eos_token={"content": "<eos>", "lstrip": False},
        add_bos_token=None,
        split_special_tokens=False,
        tokenizer_class="PreTrainedTokenizerFast",
        model_max_length=7,
    )
    edit_json(folder / "generation_config.json", eos_token_id=[2], temperature=0.7)
    edit_json(folder / "config.json", dtype="bfloat16", use_cache=False, transformers_version="4")
    assert inspect_checkpoint(folder) == before


@pytest.mark.parametrize(
    "change", [{"rope_theta": 5.0}, {"num_attention_heads": 4}, {"hidden_act": "relu"}, {"rms_norm_eps": 1.0}]
)
def test_the_same_tensors_under_another_config_are_another_checkpoint(
    folder: Path, change: dict[str, Any]
) -> None:
    before = inspect_checkpoint(folder)
    edit_json(folder / "config.json", **change)
    after = inspect_checkpoint(folder)
    assert (after.weights_hash, after.asking_hash) == (before.weights_hash, before.asking_hash)
    assert after.config_hash != before.config_hash
    assert after.id != before.id


def test_another_asking_is_refused_with_both_named(folder: Path, tiny_policy: Path) -> None:
    ours, theirs = inspect_checkpoint(folder), inspect_checkpoint(tiny_policy)
    check_asking(ours, theirs)
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    with pytest.raises(UserError, match=f"^{folder}: has another chat template.* than {tiny_policy}, .*copy"):
        check_asking(inspect_checkpoint(folder), theirs)
