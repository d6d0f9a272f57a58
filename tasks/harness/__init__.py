"""Our tasks as lm-eval sees them: a YAML file per task and split, on our items, prompts and grader."""

from __future__ import annotations

from pathlib import Path

HARNESS = Path(__file__).parent
"""The folder for `TaskManager(include_path=..., include_defaults=False)`."""
