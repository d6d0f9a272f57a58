"""One engine for many checkpoints: `python -m benchmark.perf.engine --out results/perf [CASE]`.

- `embedded`, `smollm2`: checkpoints x tasks through our path (one engine, swaps, proofs, store) against one
  run of the `lm_eval` command with its vLLM backend for each checkpoint, started in turns, both on all cores.
- `throughput`: tokens per second of generation through our path against a bare `LLM.generate` of the same
  prompts with the same sampling, in turns, on the same engine.

Run it on a machine that does nothing else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmark.perf.against_command import race
from benchmark.perf.cases import RACES
from benchmark.perf.ratios import table
from benchmark.perf.throughput import MODELS, throughput
from tasks.errors import CommandLine, run_cli
from tasks.files import write_json, write_text
from tasks.provenance import git_state, machine, package_versions, utc_now

CASES = (*RACES, "throughput")


def main() -> None:
    """Run the command line."""
    parser = CommandLine(prog="python -m benchmark.perf.engine", description=__doc__)
    parser.add_argument("case", nargs="?", default="all", choices=[*CASES, "all"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--checkpoints", type=int, default=10, help="of each race (default 10)")
    parser.add_argument("--repeats", type=int, default=5, help="of our path in a race (default 5)")
    parser.add_argument("--turns", type=int, default=20, help="of each side of throughput (default 20)")
    parser.add_argument(
        "--smollm2", type=Path, help="folder of SmolLM2 (default: where the trainer keeps it)"
    )
    arguments = parser.parse_args()
    for name in CASES if arguments.case == "all" else [arguments.case]:
        if name in RACES:
            results = [race(name, arguments.checkpoints, arguments.repeats, arguments.smollm2)]
        else:
            results = [throughput(model, arguments.turns, arguments.smollm2) for model in MODELS]
        sha, dirty = git_state()
        about = {"measured_at": utc_now(), "machine": machine(), "git_sha": sha, "git_dirty": dirty}
        found = {**about, "versions": package_versions(), "results": results}
        write_json(arguments.out / f"engine_{name}.json", found)
        for result in results:
            low, high = result["interval"]
            print(f"{result['case']}: {result['ratio']:.2f} [{low:.2f}, {high:.2f}], goal {result['goal']}")
    paths = [arguments.out / f"engine_{name}.json" for name in CASES]
    held = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    write_text(arguments.out / "engine.md", table(held))


if __name__ == "__main__":
    sys.exit(run_cli(main))
