"""The whole report of a few rows that can be checked by hand, as stored in tests/golden/report/.

`python -m tests.report_golden` writes the files again; read the diff before you commit it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmark.endpoints import Endpoints
from benchmark.report import write_report
from benchmark.rows import ResultRow, to_frame
from tests.synthetic import make_row

FOLDER = Path(__file__).parent / "golden" / "report"
FACTS = {
    "title": "Toy",
    "command": "python -m benchmark run toy",
    "engine": "transformers",
}
ENDPOINTS = Endpoints(levels={"sums": [0.35, 0.45, 0.9]})
FINAL = {"grpo": (0.40, 0.42, 0.44, 0.41, 0.43), "lambda_grpo": (0.50, 0.54, 0.52, 0.49, 0.55)}


def small_rows() -> list[ResultRow]:
    """Two arms, five seeds, two checkpoints, one task; and one task whose set is not there."""
    cells = [("base", None, 0, 0.3)]
    for arm, values in FINAL.items():
        for seed, value in enumerate(values):
            cells += [(arm, seed, 10, (0.3 + value) / 2), (arm, seed, 20, value)]
    rows = [
        make_row(
            arm=arm, seed=seed, step=step, value=value, split=split, tokens=100 * step, train_s=float(step)
        )
        for arm, seed, step, value in cells
        for split in ("validation", "test")
    ]
    nothing = {
        "value": None,
        "stderr": None,
        "n_items": 0,
        "missing": "the set is not on this machine",
        "device": "",
    }
    return [*rows, *(row.model_copy(update={"task": "words"} | nothing) for row in rows)]


def write_small(out: Path) -> str:
    """Write the report of the rows; returns the text for the terminal, which is kept beside it."""
    text = write_report(to_frame(small_rows()), out, endpoints=ENDPOINTS, **FACTS)
    (out / "terminal.txt").write_text(text + "\n", encoding="utf-8")
    return text


def main() -> None:
    """Write the golden files."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_small(FOLDER)


if __name__ == "__main__":
    main()
