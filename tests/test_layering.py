"""Who may import whom (docs: three packages, files between them), and what stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT: dict[str, set[str]] = {"tasks": set(), "trainer": {"tasks"}, "benchmark": {"tasks"}}
OURS = MAY_IMPORT.keys() | {"tests"}

HEAVY = {
    "tasks.engines.adapters",
    "tasks.engines.forward",
    "tasks.engines.proof",
    "tasks.engines.readback",
    "tasks.engines.transformers_engine",
    "tasks.engines.vllm_engine",
    "tasks.grading.preload",
    "tasks.harness.glue",
}
"""The modules of tasks that may load torch, lm-eval's libraries or math-verify."""

REREAD = (
    "rows",
    "stats",
    "analysis.compare",
    "report",
    "plots",
    "analysis.flips",
    "analysis.item_pairs",
    "suite",
    "analysis.curves",
    "jobs.runs",
    "store",
    "scoring.score",
    "jobs.launch",
    "aa.report",
    "gate.judge",
    "gate.outputs",
)
"""What a laptop needs to read results again."""


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of every import statement, those inside functions and TYPE_CHECKING included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert all(node.level == 0 for node in froms), f"{path}: relative import"
    return {name.partition(".")[0] for name in [*names, *(node.module or "" for node in froms)]}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_downwards(package: str) -> None:
    assert len(sources(package)) > 5
    for path in sources(package):
        ours = imported(path) & OURS - {package}
        assert ours <= MAY_IMPORT[package], f"{path.relative_to(ROOT)} imports {ours - MAY_IMPORT[package]}"


def test_benchmark_starts_trainers_by_command_only() -> None:
    for path in sources("benchmark"):
        strings = [
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        assert not any("import trainer" in text or "from trainer" in text for text in strings), path


def test_nobody_calls_an_importer_by_hand() -> None:
    """`importlib.import_module("trainer")` would go round the rule above."""
    for package in MAY_IMPORT:
        for path in sources(package):
            names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
            attributes = {
                node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
            }
            assert not {"__import__", "import_module"} & (names | attributes), path


def test_no_module_hides_one_of_the_standard_library() -> None:
    """`python trainer/loop.py` puts trainer/ first on sys.path."""
    shadows = [
        path
        for package in MAY_IMPORT
        for path in (ROOT / package).glob("*.py")
        if path.stem in sys.stdlib_module_names
    ]
    assert [path for path in shadows if not path.stem.startswith("__")] == []


def loaded(modules: list[str]) -> set[str]:
    """Import modules in a fresh interpreter and name the heavy libraries that came along."""
    code = f"import {', '.join(modules)}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split()) & {
        "torch",
        "vllm",
        "transformers",
        "lm_eval",
        "datasets",
        "math_verify",
        "sympy",
    }


def test_tasks_load_no_torch() -> None:
    modules = {module_name(path) for path in sources("tasks")}
    assert modules >= HEAVY
    assert loaded(sorted(modules - HEAVY)) == set()


def test_results_are_read_without_torch() -> None:
    assert loaded([f"benchmark.{name}" for name in REREAD]) == set()


def test_the_check_sees_what_is_loaded() -> None:
    assert "math_verify" in loaded(["math_verify"])
