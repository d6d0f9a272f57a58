"""Our side of a race: `python -m benchmark.perf.ours CASE OUT CHECKPOINT...`, from start to graded texts."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmark.perf.cases import RACES, suite_of
from benchmark.store import open_store, sample_key
from benchmark.texts.generate import generate_unit, sample_request
from benchmark.texts.serving import Serving
from tasks.catalog import find_task, load_problems
from tasks.checkpoints import inspect_checkpoint
from tasks.errors import run_cli
from tasks.grading import Asked, grade_all


def main() -> None:
    """Generate with one engine, store, read back and grade."""
    case, out, folders = RACES[sys.argv[1]], Path(sys.argv[2]), [Path(word) for word in sys.argv[3:]]
    suite = suite_of(case.tasks, case.new_tokens, temperature=0.0)
    decodings = {task: suite.decoding(task) for task in case.tasks}
    serving = Serving("vllm", folders[0], decodings, dtype="float32", max_sequences=suite.max_sequences)
    store, keys = open_store(out), []
    with store.writer("perf") as writer:
        for checkpoint in map(inspect_checkpoint, folders):
            serving.load(checkpoint)
            for task in case.tasks:
                generate_unit(suite, checkpoint, task, "test", serving, writer, set())
                keys.append((task, sample_key(sample_request(suite, checkpoint, task, "test", "vllm"))))
    for task, key in keys:
        golds, kind = {one.id: one.gold for one in load_problems(task, "test")}, find_task(task).answer
        grade_all([Asked(one.text, golds[one.item], one.finish, kind) for one in store.read(key).samples])


if __name__ == "__main__":
    sys.exit(run_cli(main))
