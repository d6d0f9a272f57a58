"""The distribution holds our three packages with their data, and nothing else answers to their names."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("benchmark", "tasks", "trainer")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_is_the_one_of_this_repository(name: str) -> None:
    """PyPI has distributions that install a `trainer`, a `benchmark` and a `tasks`."""
    assert Path(str(importlib.import_module(name).__file__)) == ROOT / name / "__init__.py"


def test_discovery_finds_exactly_the_packages_with_modules() -> None:
    settings = PROJECT["tool"]["setuptools"]["packages"]["find"]
    assert settings.pop("namespaces") is False
    found = set(find_packages(str(ROOT), **settings))
    folders = {path.parent.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    assert found == {".".join(folder.parts) for folder in folders}
    assert {name.partition(".")[0] for name in found} == set(PACKAGES)


def shipped(package: str) -> set[Path]:
    """Data files of a package that the globs of pyproject.toml take along."""
    globs = PROJECT["tool"]["setuptools"]["package-data"][package]
    return {path for glob in globs for path in (ROOT / package).glob(glob) if path.is_file()}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_data_file_is_shipped(package: str) -> None:
    files = {
        path
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".md") and not path.name.startswith(".")
    }
    assert shipped(package) == files


@pytest.mark.parametrize(
    "path",
    [
        "benchmark/arms.toml",
        "benchmark/suites/embedded.toml",
        "trainer/recipes/embedded.toml",
        "trainer/policies/embedded/model.safetensors",
        "trainer/policies/embedded/tokenizer.json",
        "tasks/tasks.toml",
        "tasks/data/manifest.json",
        "tasks/data/add2_test.jsonl",
        "tasks/harness/_shared.yaml",
        "tasks/harness/add2_test.yaml",
    ],
)
def test_what_a_run_needs_is_shipped(path: str) -> None:
    assert ROOT / path in shipped(Path(path).parts[0])


def test_every_library_that_is_imported_is_declared() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    declared = [text for listed in (PROJECT["project"]["dependencies"], *extras) for text in listed]
    names = {re.match(r"[\w.-]+", text).group().lower() for text in declared}  # type: ignore[union-attr]
    comes_with = {
        "datasets": "lm-eval",
        "huggingface_hub": "transformers",
        "tokenizers": "transformers",
        "safetensors": "transformers",
        "markupsafe": "jinja2",
        "typing_extensions": "pydantic",
        "yaml": "lm-eval",
        **dict.fromkeys(("antlr4", "latex2sympy2_extended", "sympy"), "math-verify"),
    }
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for module in modules:
                    top = module.partition(".")[0]
                    if top in sys.stdlib_module_names or top in PACKAGES:
                        continue
                    wanted = comes_with.get(top, top.replace("_", "-"))
                    assert wanted in names, f"{path}: {top} is not declared"


def test_the_licence_is_there() -> None:
    assert all((ROOT / name).is_file() for name in PROJECT["project"]["license-files"])
