"""Configuration: what is misspelt, missing or out of range is named, and no folder changes its owner."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from tasks.errors import UserError
from tasks.settings import (
    Settings,
    apply_override,
    build_settings,
    claim_folder,
    load_settings,
    named_file,
    read_toml,
)


class Optimizer(Settings):
    learning_rate: float = Field(default=1e-3, gt=0)
    betas: tuple[float, ...] = (0.9, 0.999)


class Recipe(Settings):
    name: str
    steps: int = 10
    seeds: tuple[int, ...] = (0,)
    optimizer: Optimizer = Optimizer()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "λ"\nsteps = 3\n[optimizer]\nlearning_rate = 0.5\n', encoding="utf-8")
    return path


def test_a_file_becomes_a_frozen_model(recipe: Path) -> None:
    found = load_settings(Recipe, recipe)
    assert found == Recipe(name="λ", steps=3, optimizer=Optimizer(learning_rate=0.5))
    with pytest.raises(ValueError, match="frozen"):
        found.steps = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stepz = 1", "unknown key 'stepz'; did you mean 'steps'\\?"),
        ("zzzz = 1", "unknown key 'zzzz'; choose from name, optimizer, seeds, steps"),
        (
            "optimizer.learnin_rate = 1",
            "unknown key 'optimizer.learnin_rate'; did you mean 'learning_rate'\\?",
        ),
        ("optimizer.learning_rate = 0", "optimizer.learning_rate=0: input should be greater than 0"),
        ('steps = "many"', "steps='many': input should be a valid integer"),
        ("seeds = [0, 1.5]", "seeds.1=1.5: input should be a valid integer"),
        ("optimizer = 3", "optimizer=3: input should be a valid dictionary"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_file(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "x"\n{line}\n')
    with pytest.raises(UserError, match=message) as caught:
        load_settings(Recipe, path)
    assert str(caught.value).startswith(f"{path}: ")


def test_every_problem_is_told_in_one_line() -> None:
    with pytest.raises(UserError) as caught:
        build_settings(Recipe, {"stepz": 1, "seeds": 3}, source="here")
    told = str(caught.value).split("; here: ")
    assert len(told) == 3
    assert "here: key 'name' is missing; add it" in told
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"steps = ", b"steps = 1\nsteps = 2\n", b"\xff\xfe", b"[optimizer\n"])
def test_bad_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad.toml: not valid TOML .*; mend the file") as caught:
        read_toml(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.toml: no such file; give the path of a .toml file"):
        load_settings(Recipe, tmp_path / "none.toml")
    with pytest.raises(UserError, match="not readable"):
        read_toml(tmp_path)


def test_named_files(recipe: Path) -> None:
    assert named_file("recipe", recipe.parent, "recipe") == recipe
    assert named_file("elsewhere/x.toml", recipe.parent, "recipe") == Path("elsewhere/x.toml")
    with pytest.raises(
        UserError, match="recipe 'recipes': there is none of that name; did you mean 'recipe'"
    ):
        named_file("recipes", recipe.parent, "recipe")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps=5", {"steps": 5}),
        ("steps = 5", {"steps": 5}),
        ("name=plain words", {"name": "plain words"}),
        ("name=a=b", {"name": "a=b"}),
        ('name="5"', {"name": "5"}),
        ("seeds=[0, 1]", {"seeds": [0, 1]}),
        ("optimizer.learning_rate=3e-5", {"optimizer": {"learning_rate": 3e-5, "kept": 1}}),
        ("optimizer={learning_rate=2.0}", {"optimizer": {"learning_rate": 2.0}}),
        ("new.table.key=true", {"new": {"table": {"key": True}}}),
    ],
)
def test_overrides(text: str, expected: dict[str, Any]) -> None:
    before: dict[str, Any] = {"steps": 1, "name": "x", "optimizer": {"learning_rate": 1.0, "kept": 1}}
    raw = json.loads(json.dumps(before))
    apply_override(raw, text)
    assert raw == before | expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps", "--set 'steps': want key=value"),
        ("=3", "--set '=3': want key=value"),
        (" = 3", "want key=value"),
        ("steps.more=3", "--set 'steps.more=3': 'steps' is a value, not a table; drop the part after it"),
        ("steps.more.still=3", "'steps' is a value, not a table"),
        ("optimizer.=3", "--set 'optimizer.=3': want key=value"),
        (".steps=3", "want key=value"),
    ],
)
def test_bad_overrides(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        apply_override({"steps": 1}, text)


def test_overrides_apply_in_order_and_are_validated(recipe: Path) -> None:
    found = load_settings(Recipe, recipe, ["steps=5", "optimizer.betas=[0.5, 0.6]", "steps=7"])
    assert found.steps == 7
    assert found.optimizer == Optimizer(learning_rate=0.5, betas=(0.5, 0.6))
    with pytest.raises(UserError, match=r"^--set: unknown key 'step'; did you mean 'steps'"):
        load_settings(Recipe, recipe, ["step=5"])
    with pytest.raises(UserError, match=r"^--set: steps='1 2': input should be a valid integer"):
        load_settings(Recipe, recipe, ["steps=1 2"])


def test_a_wrong_value_is_told_of_where_it_came_from(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "a"\nsteps = "many"\n', encoding="utf-8")
    with pytest.raises(UserError) as told:
        load_settings(Recipe, path, ["optimizer.betas=3"])
    steps, betas = str(told.value).split("; ")
    assert steps.startswith(f"{path}: steps='many': ")
    assert betas.startswith("--set: optimizer.betas=3: ")


def test_the_digest_is_the_hash_of_sorted_json() -> None:
    one = Recipe.model_validate({"name": "x", "optimizer": {"betas": [0.1], "learning_rate": 2}})
    two = Recipe.model_validate(
        {"optimizer": {"learning_rate": 2.0, "betas": [0.1]}, "name": "x", "steps": 10}
    )
    text = '{"name": "x", "optimizer": {"betas": [0.1], "learning_rate": 2.0}, "seeds": [0], "steps": 10}'
    assert one.digest() == two.digest() == hashlib.sha256(text.encode()).hexdigest()
    assert Recipe(name="x", seeds=(1, 0)).digest() != Recipe(name="x", seeds=(0, 1)).digest()


def test_a_new_folder_is_claimed_and_the_same_settings_come_back(tmp_path: Path) -> None:
    out, settings = tmp_path / "deep" / "out", Recipe(name="x")
    claim_folder(out, "config.json", settings)
    written = (out / "config.json").read_bytes()
    assert json.loads(written) == {
        "config": settings.model_dump(mode="json"),
        "config_hash": settings.digest(),
    }
    (out / "results").write_text("kept")
    claim_folder(out, "config.json", settings)
    assert (out / "config.json").read_bytes() == written


def test_a_folder_of_other_settings_is_refused_and_left_alone(tmp_path: Path) -> None:
    claim_folder(tmp_path, "config.json", Recipe(name="x", steps=3))
    written = (tmp_path / "config.json").read_bytes()
    with pytest.raises(UserError, match=r"\(steps=3 there, 4 here\); choose another --out") as caught:
        claim_folder(tmp_path, "config.json", Recipe(name="x", steps=4))
    assert str(tmp_path) in str(caught.value)
    assert "name=" not in str(caught.value)
    assert (tmp_path / "config.json").read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("a lock or a mark of the file system")
    claim_folder(tmp_path, "config.json", Recipe(name="x"))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("dear")
    with pytest.raises(
        UserError, match=r"foreign: is not empty and has no config.json; choose another --out"
    ):
        claim_folder(foreign, "config.json", Recipe(name="x"))
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("content", ["{", "[]", '{"config": 3}', "{}"])
def test_a_damaged_claim_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config.json: not the configuration of a run; choose another --out"):
        claim_folder(tmp_path, "config.json", Recipe(name="x"))
    assert (tmp_path / "config.json").read_text() == content


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="out: is a file; choose another --out"):
        claim_folder(tmp_path / "out", "config.json", Recipe(name="x"))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match=r"file/out: cannot be made \(Not a directory\); choose another --out"
    ):
        claim_folder(tmp_path / "file" / "out", "config.json", Settings())
