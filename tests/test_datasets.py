"""Published sets: fetched once from a local copy in the published schema, checked, split by a fixed seed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

from tasks import datasets
from tasks.catalog import load_problems
from tasks.datasets import data_folder, fetch, reference_answer
from tasks.errors import UserError
from tasks.freeze import procedural
from tasks.prompts import prompt_text
from tasks.settings import load_settings
from trainer.config import TrainConfig
from trainer.policies import policy_folder

RECIPES = Path(__file__).parents[1] / "trainer/recipes"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with 300 made-up rows in the schema of knoveleng/open-rs; the data folder is empty."""
    monkeypatch.setenv("LAMBDA_GRPO_BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    rows = pd.DataFrame(
        {
            "problem": [f"What is {n} + {n}? Mind the \\(é\\)." for n in range(300)],
            "solution": [f"Adding gives \\boxed{{{n}}}, that is \\boxed{{{2 * n}}}." for n in range(300)],
            "answer": [str(2 * n) for n in range(300)],
            "level": ["easy"] * 300,
        }
    )
    folder = tmp_path / "mirror"
    folder.mkdir()
    rows.to_parquet(folder / "train-00000-of-00001.parquet")
    return folder


def test_a_local_copy_is_fetched_and_split(mirror: Path) -> None:
    path = fetch("openrs", mirror)
    assert path == data_folder() / "openrs.jsonl"
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["items"] == 300
    assert record["hub"] == "knoveleng/open-rs"
    train, validation = (load_problems("openrs", split) for split in ("train", "validation"))
    assert (len(train), len(validation)) == (175, 125)
    assert not {p.id for p in train} & {p.id for p in validation}
    assert all(p.gold == str(2 * int(p.id.split("/")[1])) for p in train + validation)
    assert [p.id for p in load_problems("openrs", "validation")] == [p.id for p in validation]
    assert fetch("openrs", mirror / "train-00000-of-00001.parquet") == path
    assert load_problems("openrs", "train") == train  # a file is as good as its folder


def test_what_is_missing_or_changed_is_one_line_with_the_command(mirror: Path) -> None:
    with pytest.raises(
        UserError, match=r"'openrs' is not on this machine; run `python -m tasks fetch openrs`"
    ):
        load_problems("openrs", "train")
    path = fetch("openrs", mirror)
    path.write_text(path.read_text().replace('"gold": "4"', '"gold": "5"'))
    with pytest.raises(UserError, match="not what was fetched"):
        load_problems("openrs", "train")
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        load_problems("openrs", "train")
    with pytest.raises(UserError, match="no test split"):
        load_problems("openrs", "test")


def test_other_columns_and_unreadable_copies_are_refused(mirror: Path, tmp_path: Path) -> None:
    pd.DataFrame({"problem": ["1"], "result": ["2"]}).to_json(
        tmp_path / "other.jsonl", orient="records", lines=True
    )
    with pytest.raises(UserError, match="has no column 'solution', only problem, result"):
        fetch("openrs", tmp_path / "other.jsonl")
    with pytest.raises(UserError, match=r"nowhere: cannot be loaded .* give a local copy with --from"):
        fetch("openrs", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"published set, nothing to generate; run `python -m tasks fetch"):
        procedural("openrs")
    with pytest.raises(UserError, match="no published set 'openr'; did you mean 'openrs'"):
        fetch("openr", mirror)


@pytest.mark.parametrize(
    ("solution", "gold"),
    [
        ("so \\boxed{1} and then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("$\\sqrt{2}$", "\\sqrt{2}"),
        (" 42 ", "42"),
        ("\\boxed{never closed", "\\boxed{never closed"),
    ],
)
def test_the_reference_answer_is_the_last_box_or_the_text(solution: str, gold: str) -> None:
    assert reference_answer(solution) == gold


def test_the_system_prompt_comes_first(tiny: object) -> None:
    tokenizer: PreTrainedTokenizerFast = tiny.char_tokenizer()  # type: ignore[attr-defined]
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    text = prompt_text("openrs", "1+1?", tokenizer)
    assert text.startswith("[system]Think step by step")
    assert text.endswith("within \\boxed{}.[user]1+1?")
    assert prompt_text("sums1", "1+1?", tokenizer).startswith("[user]")


@pytest.mark.parametrize(
    "recipe", sorted(path.stem for path in RECIPES.glob("*.toml") if path.stem != "pretrain")
)
def test_every_recipe_loads(recipe: str) -> None:
    config = load_settings(TrainConfig, RECIPES / f"{recipe}.toml", [])
    assert config.steps >= 20


def test_the_papers_recipes_have_its_numbers() -> None:
    for name, rate in (("paper_qwen", 1e-6), ("paper_llama", 1e-7)):
        config = load_settings(TrainConfig, RECIPES / f"{name}.toml", [])
        assert (config.steps, config.problems_per_step, config.group_size) == (1000, 4, 6)
        assert (config.temperature, config.max_new_tokens, config.learning_rate) == (0.75, 4096, rate)
        assert (config.updates_per_batch, config.kl_beta, config.checkpoint_every) == (1, 0.04, 25)


def test_a_policy_that_was_not_downloaded_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"run `hf download owner/model`"):
        policy_folder("owner/model")
    with pytest.raises(UserError, match="did you mean 'embedded'"):
        policy_folder("embeded")


def test_importing_the_sets_loads_no_pyarrow() -> None:
    code = f"import sys, {datasets.__name__}; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=RECIPES.parents[1], check=False).returncode == 0
