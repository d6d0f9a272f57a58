"""A proof that compared nothing is no proof."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tasks.engines.readback import check_seen, read_back
from tasks.errors import UserError


class Renamed(nn.Module):
    """Holds its layers under another path than the file says, as vLLM does for Gemma 3 and Qwen-VL."""

    def __init__(self) -> None:
        super().__init__()
        self.language_model = nn.ModuleDict({"layer": nn.Linear(4, 4, bias=False)})


def test_modules_under_another_name_do_not_pass() -> None:
    stored = {"model.layer.weight": torch.zeros(4, 4)}
    stale, unseen = read_back(Renamed(), stored)
    assert stale == []  # nothing was compared
    assert unseen == ["model.layer.weight", "language_model.layer.weight"]
    with pytest.raises(
        UserError, match=r"'model.layer.weight' cannot be .*2 tensors.*use --engine transformers"
    ):
        check_seen(unseen, stored, {"model.layer.weight"}, Path("folder"))


def test_a_parameter_of_the_engine_that_no_tensor_fills_does_not_pass() -> None:
    with pytest.raises(UserError, match=r"'extra.weight' cannot be compared"):
        check_seen(["extra.weight"], {"model.layer.weight"}, {"model.layer.weight"}, Path("folder"))


def test_what_no_model_reads_may_lie_in_the_file() -> None:
    stored = {"model.layer.weight", "model.rotary_emb.inv_freq", "lm_head.weight"}
    check_seen(
        ["lm_head.weight", "model.rotary_emb.inv_freq"], stored, {"model.layer.weight"}, Path("folder")
    )
