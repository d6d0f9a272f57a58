"""A worker: `python -m benchmark.executor SUITE --out OUT --engine E --launch FOLDER --worker NAME`.

Started by an executor, not by people.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmark.executor.leases import Leases
from benchmark.executor.worker import ITEM_FAILED, ItemFailed, work
from benchmark.executor.worklist import Worklist
from benchmark.store import open_store
from benchmark.suite import load_suite
from tasks.errors import CommandLine, run_cli, stop_on_sigterm
from tasks.provenance import quiet_and_offline


def main() -> None:
    """Work on a launch until its list is done."""
    parser = CommandLine(prog="python -m benchmark.executor", description=__doc__)
    parser.add_argument("suite")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--engine", choices=("transformers", "vllm"), required=True)
    parser.add_argument("--launch", type=Path, required=True)
    parser.add_argument("--worker", required=True)
    arguments = parser.parse_args()
    stop_on_sigterm()
    quiet_and_offline()
    suite = load_suite(arguments.suite, arguments.set)
    worklist, store = Worklist(arguments.launch), open_store(arguments.out)
    from benchmark.executor.answer import Answering

    with store.writer(arguments.worker) as writer:
        answering = Answering(
            suite, arguments.engine, store, writer, lambda count: worklist.count(arguments.worker, count)
        )
        try:
            work(worklist, Leases(arguments.out), arguments.worker, answering)
        except ItemFailed as error:
            print(f"failed: {error}", file=sys.stderr)
            sys.exit(ITEM_FAILED)
        finally:
            answering.close()


if __name__ == "__main__":
    sys.exit(run_cli(main))
