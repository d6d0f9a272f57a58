"""Run the gate against every planted fault and control, for real, and write the table of docs/gate.md.

`python tests/gate_proof.py --out DIR [--baseline FILE] [NAME ...]` makes a suite of each name in
tests/planted_faults.py whose arm is trained through that file, and calls `python -m benchmark gate` on it.
What has a verdict already is not run again. Exit 1 where a fault passes or a control does not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FAULTS_FILE = ROOT / "tests/planted_faults.py"
SUITE = ROOT / "benchmark/suites/gate.toml"
BASELINE = ROOT / "results/baselines/gate.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="faults and controls (default: all)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--jobs", default="1")
    arguments = parser.parse_args()
    from planted_faults import CONTROLS, FAULTS

    rows, wrong = [], []
    for name, plant in (CONTROLS | FAULTS).items():
        if arguments.names and name not in arguments.names:
            continue
        found = run_gate(name, arguments.out, arguments.baseline, arguments.jobs)
        rows.append(table_row(name, str(plant.__doc__), found))
        print(rows[-1], flush=True)
        if (found["exit_code"] == 0) != (name in CONTROLS):
            wrong.append(name)
    text = "\n".join([*HEAD, *rows]) + "\n"
    (arguments.out / "proof.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\nnot as it should be: {', '.join(wrong) or 'none'}")
    return int(bool(wrong))


HEAD = (
    "| planted | what it does | exit | verdict | caught by | pairs | effect, points | first sign |",
    "|---|---|---:|---|---|---:|---:|---|",
)


def run_gate(name: str, out: Path, baseline: Path, jobs: str) -> dict[str, Any]:
    """Return the machine-readable verdict on one fault."""
    folder, suite = out / name, out / f"{name}.toml"
    if not (folder / "gate.json").exists():
        write_suite(suite, name)
        command = [sys.executable, "-m", "benchmark", "gate", str(suite), "--baseline", str(baseline)]
        command += ["--out", str(folder), "--jobs", jobs]
        log = out / f"{name}.log"
        with log.open("w") as file:
            code = subprocess.run(command, cwd=ROOT, stdout=file, stderr=file, check=False).returncode
        if not (folder / "gate.json").exists():
            raise SystemExit(f"{name}: the gate ended with exit code {code} and no verdict, see {log}")
    return dict(json.loads((folder / "gate.json").read_text(encoding="utf-8")))


def write_suite(path: Path, name: str) -> None:
    """Write the gate's suite with the arm trained through the planted fault."""
    command = ["{python}", str(FAULTS_FILE), name, "run", "{recipe}", "--out", "{out}"]
    command += ["--set", "arm=lambda_grpo", "--set", "seed={seed}"]
    arm = f'\n[arm.lambda_grpo]\nsummary = "planted: {name}"\ncommand = {json.dumps(command)}\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SUITE.read_text(encoding="utf-8") + arm, encoding="utf-8")


def table_row(name: str, what: str, found: dict[str, Any]) -> str:
    """Return a line of the table."""
    judged = next((case for case in found["cases"] if case["judged"]), None)
    effect = "" if judged is None else f"{100 * judged['difference']['mean']:+.1f}"
    cells = [
        f"`{name}`",
        what.replace("|", "\\|"),
        str(found["exit_code"]),
        found["outcome"],
        found["caught_by"],
    ]
    cells += [str(found["pairs"]), effect, found["headline"]]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
