"""The benchmark's own command line and worker, with stubs for model and grader: seconds a run.

    python tests/stubbed.py run SUITE ...       as `python -m benchmark run SUITE ...`
    python tests/stubbed.py worker SUITE ...    as `python -m benchmark.executor SUITE ...`
    python tests/stubbed.py train --out OUT --seed N --set ...    as a trainer that writes checkpoints at once

Processes, leases, store, grades, rows and the ledger are the real ones. A file named by STUB_DIE makes
a worker fail: it names the end of a checkpoint's path and how: "kill" and "once" (deletes the file first) die
there, "raise" raises, "delete" deletes the checkpoint. STUB_PAUSE is how many seconds a block takes; with
STUB_JUMP the time of day leaps about.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HERE = Path(__file__)
ARM = """
[grpo]
summary = "stub"
command = ["{{python}}", {here}, "train", "--out", "{{out}}", "--seed", "{{seed}}", "--arm", "0"]

[lambda_grpo]
summary = "stub"
command = ["{{python}}", {here}, "train", "--out", "{{out}}", "--seed", "{{seed}}", "--arm", "1"]
"""
BLOCK = 20
STEPS = (0, 2, 4, 6)


def train(words: Sequence[str]) -> None:
    """Write a run folder, one checkpoint after the other; what is there is kept."""
    import numpy as np
    from safetensors.numpy import save_file

    from tasks.files import new_folder, write_json, write_text

    flags = dict(zip(words[::2], words[1::2], strict=True))
    out, seed, arm = Path(flags["--out"]), int(flags["--seed"]), int(flags["--arm"])
    write_json(
        out / "config.json", {"config": {"policy": "stub", "steps": STEPS[-1]}, "config_hash": f"{arm}{seed}"}
    )
    manifest = {"git_sha": "abc", "git_dirty": False, "versions": {"stub": "1"}}
    write_json(out / "manifest.json", {"state": "running", **manifest})
    for name, column in (("metrics", {"tokens": 100}), ("timings", {"time/step_s": 0.5})):
        lines = [{"step": step, **column} for step in range(1, STEPS[-1] + 1)]
        write_text(out / f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    for step in STEPS:
        folder = out / "checkpoints" / f"step_{step:06d}"
        if folder.exists() or f"{step:06d}" <= (
            (out / "last").read_text() if (out / "last").exists() else ""
        ):
            continue
        time.sleep(float(os.environ.get("STUB_PAUSE", "0")))
        number = 1000 * arm + 100 * seed + step if step else 0
        with new_folder(folder) as made:
            save_file({"weight": np.full(4, number, dtype=np.float32)}, made / "model.safetensors")
            (made / "config.json").write_text('{"vocab_size": 1}')
            (made / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
        write_text(out / "last", f"{step:06d}")  # a resume goes on behind it, whatever was deleted meanwhile
    write_json(out / "manifest.json", {"state": "done", **manifest})


class StubServing:
    """Holds a checkpoint, or dies of it."""

    def __init__(self, name: str, folder: Path, decodings: object, **options: object) -> None:
        self.engine = SimpleNamespace(name=name)
        self.how = "opened"

    def load(self, checkpoint: Any) -> None:
        """Die where STUB_DIE says so."""
        note = Path(os.environ.get("STUB_DIE", "/nowhere"))
        if note.exists():
            end, _, how = note.read_text().partition(" ")
            if str(checkpoint.folder).endswith(end):
                if how == "once":
                    note.unlink()
                if how == "delete":
                    shutil.rmtree(checkpoint.folder)
                    raise OSError("model.safetensors: no such file")
                if how == "raise":
                    raise RuntimeError("CUDA error: an illegal memory access")
                os.kill(os.getpid(), signal.SIGKILL)
        if not checkpoint.folder.is_dir():
            raise OSError(f"{checkpoint.folder} is not there")

    def close(self) -> None:
        """Nothing is held."""


def stub_unit(
    suite: Any, checkpoint: Any, task: str, split: Any, serving: Any, writer: Any, held: Any
) -> None:
    """Write texts that follow from weights and item alone, right ones among them."""
    from benchmark.store import Sample
    from benchmark.texts.generate import sample_request
    from tasks.catalog import load_problems
    from tasks.engines import Finish

    request = sample_request(suite, checkpoint, task, split, serving.engine.name)
    effective = {"engine": serving.engine.name, "device": "cpu", "seconds": 1.0, "weights": "opened"}
    samples = []
    for problem in load_problems(task, split):
        for index in range(suite.decoding(task).samples):
            drawn = hashlib.sha256(f"{checkpoint.weights_hash}{problem.id}{index}".encode()).digest()[0]
            text = problem.gold if drawn % 2 else "0"
            if (problem.id, index) not in held:
                samples.append(
                    Sample(
                        item=problem.id,
                        index=index,
                        text=text,
                        tokens=3,
                        finish=Finish.STOP,
                        seed=0,
                        prompt_hash="",
                    )
                )
    for start in range(0, len(samples), BLOCK):
        time.sleep(float(os.environ.get("STUB_PAUSE", "0")))
        writer.append(request, effective, samples[start : start + BLOCK])


def stub_grades(asked: Sequence[Any]) -> list[Any]:
    """Compare texts."""
    from tasks.schema import Grade, Status

    return [
        Grade(status=Status.CORRECT if one.text == one.gold else Status.WRONG, answer=one.text)
        for one in asked
    ]


def write_table(arguments: Any, engine: str | None, timing: dict[str, str]) -> None:
    """Write what any table is made of, without times: table.csv."""
    from benchmark.commands.common import chosen_suite
    from benchmark.rows import read_rows, to_frame
    from benchmark.scoring.aggregate import TIMES

    _, out = chosen_suite(arguments)
    frame = to_frame(read_rows(out / "rows.jsonl")).drop(columns=sorted(TIMES))
    frame = frame.sort_values(["task", "split", "arm", "seed", "step", "metric"])
    frame.to_csv(out / "table.csv", index=False)


def jump() -> None:
    """Let the time of day leap about."""
    real, rng = time.time, random.Random(3)
    time.time = lambda: real() + rng.choice((-1e8, -3600.0, 0.0, 3600.0, 1e8))


def main() -> int:
    what, *words = sys.argv[1:]
    if "STUB_JUMP" in os.environ:
        jump()
    if what == "train":
        train(words)
        return 0
    arms = Path(os.environ["STUB_HOME"])
    if not (arms / "arms.toml").exists():
        (arms / "arms.toml").write_text(ARM.format(here=json.dumps(str(HERE))))
    import benchmark.suite

    benchmark.suite.HERE = arms
    from tasks.errors import run_cli

    if what == "worker":
        import benchmark.executor.__main__ as program
        import benchmark.executor.answer as answer

        answer.Serving, answer.generate_unit = StubServing, stub_unit  # type: ignore[misc, assignment]
        sys.argv = ["worker", *words]
        return run_cli(program.main)
    import benchmark.__main__ as command
    import benchmark.commands.run
    import benchmark.jobs.run
    import benchmark.scoring.score

    benchmark.jobs.run.WORKER = (str(HERE), "worker")  # type: ignore[assignment]
    benchmark.scoring.score.grade_all = stub_grades  # type: ignore[assignment]
    benchmark.commands.run.write = write_table
    sys.argv = ["benchmark", what, *words]
    return run_cli(command.main)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent.parent))
    sys.exit(main())
