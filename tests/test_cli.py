"""The command lines: a mistake is one line with value and remedy, exit code 2, before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from benchmark.suite import SUITES, load_suite, run_folder, train_command
from tasks.errors import UserError
from tasks.settings import load_settings
from trainer.__main__ import RECIPES
from trainer.config import TrainConfig

ROOT = Path(__file__).parent.parent


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return an empty working directory."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """Return a folder for PYTHONPATH whose torch and vllm end whoever imports them."""
    for name in ("torch", "vllm"):
        (tmp_path / "blocked" / name).mkdir(parents=True)
        (tmp_path / "blocked" / name / "__init__.py").write_text(f"raise SystemExit('{name} was imported')")
    return tmp_path / "blocked"


def call(here: Path, words: str | list[str], *paths: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *(words.split() if isinstance(words, str) else words)]
    path = os.pathsep.join(str(one) for one in (*paths, ROOT))
    return subprocess.run(
        command, cwd=here, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("benchmark run embeded", ["suite 'embeded'", "did you mean 'embedded'?"]),
        ("benchmark run embedded --set arms=['grpoo']", ["arms=['grpoo']", "did you mean 'grpo'?"]),
        (
            "benchmark run embedded --set tasks=['ad2']",
            ["unknown task or group 'ad2'", "did you mean 'add2'?"],
        ),
        ("benchmark run embedded --set seed=[0]", ["unknown key 'seed'", "did you mean 'seeds'?"]),
        ("benchmark run embedded --set seeds", ["--set 'seeds'", "want key=value"]),
        ("benchmark run embedded --engine vlm", ["--engine", "'vlm'", "vllm"]),
        ("benchmark run embedded --jobs 0", ["--jobs", "'0': want a whole number, 1 or more"]),
        ("benchmark generate embedded --jobs abc", ["--jobs", "'abc': want a whole number, 1 or more"]),
        ("benchmark run embedded --set samples=1001", ["samples", "less than or equal to 1000"]),
        ("benchmark gate gate --reason because", ["--reason", "add --write-baseline FILE"]),
        ("benchmark generate embedded --engine transformers", ["grpo seed 0 was not trained"]),
        (
            "benchmark run embedded --dry-run --set train.stepz=3",
            ["unknown key 'stepz'", "did you mean 'steps'?"],
        ),
        ("benchmark run embedded --dry-run --set recipe=embeded", ["recipe 'embeded'", "'embedded'?"]),
        ("benchmark run embedded --set train.task=ad2", ["unknown task 'ad2'", "did you mean 'add2'?"]),
        ("benchmark run embedded --set train.policy=embeded", ["policy 'embeded'", "'embedded'?"]),
        (
            "benchmark run embedded --dry-run --set retention.keep_lst=1",
            ["retention.keep_lst", "'keep_last'?"],
        ),
        ("benchmark score embedded --engine transformers", ["grpo seed 0 was not trained", "run the suite"]),
        ("benchmark report embedded", ["rows.jsonl: no results there", "python -m benchmark run"]),
        ("benchmark frobnicate", ["'frobnicate'", "run", "see python -m benchmark --help"]),
        ("trainer run embeded --out run", ["recipe 'embeded'", "did you mean 'embedded'?"]),
        ("trainer run embedded --out run --set arm=grop", ["arm='grop'", "did you mean 'grpo'?"]),
        ("trainer run embedded --out run --set policy=embeded", ["policy 'embeded'", "'embedded'?"]),
        ("trainer run embedded", ["--out", "see python -m trainer run --help"]),
        ("trainer run embedded --out run --track wandbb", ["tracker 'wandbb'", "did you mean 'wandb'?"]),
        (
            "trainer run embedded --out run --set replay=x",
            ["x: no such folder", "give RUN/rollouts of a run"],
        ),
        ("trainer drift embedded --steps 2", ["--steps 2", "needs 3 or more"]),
        ("trainer drift embedded --steps many", ["--steps", "'many'", "see python -m trainer drift --help"]),
        (
            "trainer compare-gradients embedded grop grpo --rollouts x",
            ["arm 'grop'", "did you mean 'grpo'?"],
        ),
        (
            "trainer compare-gradients embedded grpo grpo --rollouts x --steps 1-2",
            ["--steps '1-2'", "for example 1,2"],
        ),
        ("trainer compare-gradients embedded grpo grpo --rollouts x", ["x: no such folder"]),
        ("tasks show ad2", ["unknown task 'ad2'", "did you mean 'add2'?"]),
    ],
)
def test_a_mistake_is_one_line_and_costs_no_torch(
    here: Path, blocked: Path, words: str, told: list[str]
) -> None:
    done = call(here, words, blocked)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in told:
        assert part in done.stderr
    assert list(here.iterdir()) == []


OF_SEVERAL_KEYS = ("baseline=grop", "samples=4", "steps=7")
"""Break a rule between keys, which no one flag is to blame for; the others are told as --set's."""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("seeds=[0,0]", "seeds=[0, 0]: one of them stands there twice; name each once"),
        ("arms=['grpo','grpo']", "one of them stands there twice"),
        ("arms=[]", "arms=[]: list should have at least 1 item"),
        ("baseline=grop", "baseline='grop' is not trained; did you mean 'grpo'?"),
        ("samples=4", "task 'add2': 4 greedy completions of an item would all be one; set samples=1"),
        ("temperature=-1", "temperature=-1: input should be greater than or equal to 0"),
        ("engine=vlm", "engine='vlm': input should be 'auto', 'transformers' or 'vllm'"),
        ("kind=smok", "kind='smok': input should be 'real' or 'smoke'"),
    ],
)
def test_a_suite_that_makes_no_sense_is_refused(change: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load_suite("embedded", [change])
    where = SUITES / "embedded.toml" if change in OF_SEVERAL_KEYS else "--set"
    assert str(caught.value).startswith(f"{where}: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("task=ad2", "unknown task 'ad2'; did you mean 'add2'?"),
        ("steps=7", "steps=7 is no multiple of checkpoint_every=2; make it one, or --set checkpoint_every=1"),
        ("task=lcm", "'lcm' is a group, want one task: lcm_easy, lcm_medium, lcm_hard"),
        ("group_size=1", "group_size=1: input should be greater than or equal to 2"),
        ("temperature=0", "temperature=0: input should be greater than 0"),
        ("learning_rte=1", "unknown key 'learning_rte'; did you mean 'learning_rate'?"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(TrainConfig, RECIPES / "embedded.toml", ["steps=6", "checkpoint_every=2", change])
    where = RECIPES / "embedded.toml" if change in OF_SEVERAL_KEYS else "--set"
    assert str(caught.value).startswith(f"{where}: ")
    assert told in str(caught.value)


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_suite_can_be_trained(path: Path, tmp_path: Path) -> None:
    """The commands that it makes are ones that the trainer accepts."""
    suite = load_suite(path.stem)
    assert suite.name == path.stem
    for arm in suite.arms:
        command = train_command(suite, tmp_path, arm, suite.seeds[-1])
        assert command[:4] == [sys.executable, "-m", "trainer", "run"]
        overrides = [value for flag, value in pairwise(command) if flag == "--set"]
        config = load_settings(TrainConfig, RECIPES / f"{command[4]}.toml", overrides)
        assert (config.arm, config.seed) == (arm, suite.seeds[-1])
        assert command[command.index("--out") + 1] == str(run_folder(tmp_path, arm, suite.seeds[-1]))


def test_a_folder_of_another_configuration_is_refused_at_once(here: Path, blocked: Path) -> None:
    out = here / "results" / "local" / "embedded"
    out.mkdir(parents=True)
    (out / "thesis.tex").write_text("dear")
    done = call(here, "benchmark run embedded", blocked)
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: results/local/embedded: is not empty and has no suite.json; choose another --out\n"
    )
    (out / "thesis.tex").unlink()
    (out / "suite.json").write_text('{"config": {"name": "embedded"}}')
    done = call(here, "benchmark run embedded", blocked)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: results/local/embedded: belongs to another configuration (arms=None there"
    )
    assert done.stderr.count("\n") == 1
    assert [path.name for path in out.iterdir()] == ["suite.json"]


def test_a_trainers_folder_of_another_configuration_is_refused_at_once(here: Path, blocked: Path) -> None:
    (here / "run").mkdir()
    (here / "run/config.json").write_text('{"config": {"steps": 1}}')
    done = call(here, "trainer run embedded --out run", blocked)
    assert done.returncode == 2
    assert done.stderr.startswith("error: run: belongs to another configuration (activation_checkpointing=")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in (here / "run").iterdir()] == ["config.json"]


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_manifest_is_named(here: Path, blocked: Path, text: str) -> None:
    out = here / "results" / "local" / "smoke"
    for arm in load_suite("smoke").arms:
        folder = run_folder(out, arm, load_suite("smoke").seeds[0])
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(text)
    (out / "suite.json").write_text(
        '{"config": %s}' % load_suite("smoke").model_dump_json()  # noqa: UP031  braces
    )
    done = call(here, "benchmark run smoke --engine transformers", blocked)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "manifest.json: " in done.stderr
    assert "delete the run folder and run the suite to train it again" in done.stderr


def test_a_dry_run_prints_the_plan_and_writes_nothing(here: Path) -> None:
    words = "benchmark run smoke --dry-run --jobs 3 --set seeds=[4,5,6] --engine transformers"
    done = call(here, words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("suite smoke (smoke): ")
    for part in (
        *("grpo", "lambda_grpo", "3 seeds", "3 at a time", "add2", "greedy", "results/local/smoke"),
        "runs         6 to do, 0 there already",
        "checkpoints  18 to do, 0 there already",  # step 0 of every run too
        "units        26 to do, 0 there already",  # (1 + 6 x 2) x 2 splits
        "completions  9984 to do, 0 there already",  # 13 x (256 + 512)
        "at most 159,744 (every completion as long as it may be)",
        "training unknown until the first step; generating unknown until the first block of every task",
    ):
        assert part in done.stdout
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "max_new_tokens=3000",
            "task 'add2' validation: its longest prompt has 7 tokens, with the completion",
        ),
        ("train.policy=walker", "task 'add2' cannot be asked of"),
        ("tasks=['sums1']", "the task asks through a chat template and this tokenizer has none"),
    ],
)
def test_a_policy_that_cannot_be_asked_is_refused_before_it_is_trained(
    here: Path, words: str, told: str
) -> None:
    done = call(here, ["benchmark", "run", "smoke", "--dry-run", "--engine", "transformers", "--set", words])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert told in done.stderr
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("benchmark --help", ["run", "generate", "score", "report", "agree"]),
        ("benchmark run --help", ["SUITE", "--out", "--set", "--engine", "--jobs", "--dry-run"]),
        ("trainer run --help", ["RECIPE", "--out", "--set", "--track"]),
        ("trainer --help", ["run", "drift", "compare-gradients", "pretrain"]),
        ("tasks --help", ["list", "show", "fetch", "verify", "freeze"]),
    ],
)
def test_help(here: Path, blocked: Path, words: str, parts: list[str]) -> None:
    done = call(here, words, blocked)
    assert (done.returncode, done.stderr) == (0, "")
    assert [part for part in parts if part.lower() not in done.stdout.lower()] == []


def test_tasks_can_be_looked_at(here: Path, blocked: Path) -> None:
    done = call(here, "tasks list", blocked)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[2:5]] == ["add2", "add3", "sums1"]
    done = call(here, "tasks show add2 --item 0", blocked)
    assert "81+17=" in done.stdout
    assert done.stdout.endswith("98\n")


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("BrokenPipeError", ""),  # `| head` has read enough; a run that it stopped is not done
        ("KeyboardInterrupt", "stopped: interrupted; the same command goes on from here\n"),
    ],
)
def test_what_ends_a_program_early_is_no_success(raised: str, told: str) -> None:
    head = "import sys; from tasks.errors import run_cli\n"
    code = f"{head}def main():\n    raise {raised}\nsys.exit(run_cli(main))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, told)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_output_without_greek_letters_shows_their_escapes(encoding: str) -> None:
    code = "import sys; from tasks.errors import run_cli\nsys.exit(run_cli(lambda: print('λ-GRPO')))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    shown = {"utf-8": "λ-GRPO"}.get(encoding, r"\u03bb-GRPO")
    assert (done.returncode, done.stdout.decode(encoding), done.stderr) == (0, shown + "\n", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("flush", [True, False])
def test_a_full_disk_under_the_output_is_one_line(flush: bool) -> None:
    head = "import sys; from tasks.errors import run_cli\n"
    code = f"{head}sys.exit(run_cli(lambda: print('much', flush={flush})))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    told = "failed: the file that the output goes to: not written, no room on its disk; make room and try "
    assert (done.returncode, done.stderr) == (7, told + "again\n")
