"""A suite: which arms, seeds and tasks, and how they are decoded. One TOML file each in benchmark/suites/."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from benchmark.endpoints import Endpoints
from benchmark.jobs.retention import Retention
from tasks.catalog import expand_tasks, splits_of
from tasks.decoding import Decoding, task_decoding
from tasks.engines import Dtype, EngineName
from tasks.errors import closest
from tasks.majority import MOST_SAMPLES
from tasks.schema import SCORED, Split
from tasks.settings import Settings, build_settings, load_settings, named_file, read_toml

HERE = Path(__file__).parent
SUITES = HERE / "suites"
BASE = "base"
"""The arm name of the untrained policy in rows and tables."""


class ArmCommand(Settings):
    """How one arm is trained."""

    summary: str
    command: list[str]
    check: list[str] = Field(default_factory=list)
    """What says, without training, whether the command would be refused; empty where nothing can."""


def arm_commands() -> dict[str, ArmCommand]:
    """Return every known arm by name, from arms.toml."""
    raw = read_toml(HERE / "arms.toml")
    return {
        name: build_settings(ArmCommand, table, source=f"arms.toml [{name}]") for name, table in raw.items()
    }


class Suite(Settings):
    """What is trained and what is scored; its hash is part of every result."""

    name: str
    summary: str
    kind: Literal["real", "smoke"] = "real"
    """A smoke suite shows that the machinery runs; no table or gate takes its numbers."""
    recipe: str
    """Of the trainer."""
    arms: list[str] = Field(min_length=1)
    baseline: str
    """The arm that every other one is compared with."""
    seeds: list[int] = Field(min_length=1)
    """Training seeds, the same for every arm: the unit of inference."""
    train: dict[str, Any] = Field(default_factory=dict)
    """Recipe keys that this suite overrides."""
    arm: dict[str, ArmCommand] = Field(default_factory=dict)
    """Arms of this suite's own, [arm.NAME] with summary and command; one may take a known arm's place."""
    tasks: list[str] = Field(min_length=1)
    """Tasks or groups of them."""
    splits: list[Split] = Field(default=list(SCORED), min_length=1)
    """What every checkpoint answers of each task; a suite of the gate alone needs no test split."""
    temperature: float | None = Field(default=None, ge=0)
    """0 is greedy; every task's own where nothing is given, like the three keys below."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    samples: int | None = Field(default=None, ge=1, le=MOST_SAMPLES)
    """Completions per item."""
    max_new_tokens: int | None = Field(default=None, gt=0)
    """Longest completion."""
    engine: EngineName = "auto"
    dtype: Dtype = "float32"
    max_sequences: int = Field(default=256, gt=0)
    """Completions decoded side by side."""
    retention: Retention | None = None
    """Which scored checkpoints stay on the disk; all of them where nothing is given."""
    endpoints: Endpoints = Field(default_factory=Endpoints)
    """What the comparison is judged by; its own hash stands in every row."""

    @field_validator("arms")
    @classmethod
    def _arms_once(cls, arms: list[str]) -> list[str]:
        return _distinct(arms)

    @field_validator("splits")
    @classmethod
    def _scored_splits(cls, splits: list[Split]) -> list[Split]:
        for split in splits:
            if split not in SCORED:
                raise ValueError(f"{split!r} is not scored; choose from {', '.join(SCORED)}")
        return _distinct(splits)

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, tasks: list[str]) -> list[str]:
        named = expand_tasks(_distinct(tasks))
        if all("test" not in splits_of(task) for task in named):
            raise ValueError(f"{', '.join(named)}: no test split to score; add a task that has one")
        if all("validation" not in splits_of(task) for task in named):
            raise ValueError(
                f"{', '.join(named)}: no validation split to choose the peak's checkpoint on; "
                "add a task that has one"
            )
        return named

    @field_validator("seeds")
    @classmethod
    def _seeds_once(cls, seeds: list[int]) -> list[int]:
        return _distinct(seeds)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        commands = self.commands()
        for arm in self.arms:
            if arm not in commands:
                raise ValueError(f"arms={self.arms}: there is no arm {arm!r}; {closest(arm, commands)}")
        if self.baseline not in self.arms:
            raise ValueError(
                f"baseline={self.baseline!r} is not trained; {closest(self.baseline, self.arms)}"
            )
        for task in self.tasks:
            self.decoding(task)
        for task in sorted(self.endpoints.named_tasks() - set(self.tasks)):
            raise ValueError(
                f"endpoints: levels for {task!r}, which is not asked; {closest(task, self.tasks)}"
            )
        return self

    def commands(self) -> dict[str, ArmCommand]:
        """Return how each arm is trained that this suite may name."""
        return arm_commands() | self.arm

    def decoding(self, task: str) -> Decoding:
        """Return how a task is decoded in this suite."""
        return task_decoding(
            task,
            samples=self.samples,
            temperature=self.temperature,
            top_p=self.top_p,
            max_new_tokens=self.max_new_tokens,
        )

    def scored(self) -> list[tuple[str, Split]]:
        """Return every task and split that a checkpoint answers."""
        return [(task, split) for task in self.tasks for split in self.splits if split in splits_of(task)]


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("one of them stands there twice; name each once")
    return values


def load_suite(name: str, overrides: Iterable[str] = ()) -> Suite:
    """Load a shipped suite by name or any by its .toml path."""
    path = named_file(name, SUITES, "suite")
    return load_settings(Suite, path, [f"name={json.dumps(path.stem)}", *overrides])


def run_folder(out: Path, arm: str, seed: int) -> Path:
    """Return where the run of an arm and seed lies."""
    return out / "runs" / arm / f"seed_{seed}"


def train_command(suite: Suite, out: Path, arm: str, seed: int) -> list[str]:
    """Return the command that trains one arm with one seed."""
    return _filled(suite, suite.commands()[arm].command, str(run_folder(out, arm, seed)), seed)


def check_command(suite: Suite, arm: str, seed: int) -> list[str]:
    """Return the command that checks what `train_command` would be given; empty where the arm has none."""
    command = suite.commands()[arm].check
    return _filled(suite, command, "", seed) if command else []


def _filled(suite: Suite, command: list[str], out: str, seed: int) -> list[str]:
    values = {"python": sys.executable, "recipe": suite.recipe, "out": out, "seed": str(seed)}
    filled = [part.format(**values) for part in command]
    for key, value in suite.train.items():
        filled += ["--set", f"{key}={json.dumps(value)}"]
    return filled
