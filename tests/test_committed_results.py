"""The results in the repository: made from their rows, real, and quoted in the README as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.report import write_report
from benchmark.rows import read_rows, to_frame
from benchmark.suite import load_suite

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["embedded", "smollm2"])
def test_tables_follow_from_the_rows(name: str, tmp_path: Path) -> None:
    folder, suite = ROOT / "results" / name, load_suite(name)
    frame = to_frame(read_rows(folder / "rows.jsonl"))
    assert set(frame["kind"]) == {"real"}
    write_report(
        frame,
        tmp_path,
        title=suite.summary,
        command=f"python -m benchmark run {name} --out results/{name}",
        engine=", ".join(sorted(set(frame["engine"]))),
        baseline=suite.baseline,
        endpoints=suite.endpoints,
    )
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert {Path("report.md"), Path("seconds.json"), Path("tables/speed.csv")} <= written
    for path in sorted(written):
        assert (tmp_path / path).read_bytes() == (folder / path).read_bytes(), path
    assert {path.name for path in (folder / "tables").iterdir()} == {
        path.name for path in written if path.parent.name == "tables"
    }


def test_the_default_suite_was_made_by_committed_code() -> None:
    frame = to_frame(read_rows(ROOT / "results/embedded/rows.jsonl"))
    assert not frame["git_dirty"].any()


@pytest.mark.parametrize("name", ["embedded", "smollm2"])
def test_every_declared_run_is_in_the_rows(name: str) -> None:
    suite = load_suite(name)
    frame = to_frame(read_rows(ROOT / "results" / name / "rows.jsonl"))
    trained = frame[frame["arm"] != "base"]
    for task in suite.tasks:
        grid = trained[trained["task"] == task].groupby(["arm", "seed", "split"])["step"].nunique()
        assert len(grid) == len(suite.arms) * len(suite.seeds) * 2
        assert grid.nunique() == 1


def test_the_readme_quotes_the_reports() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    quoted = re.search(r"<!-- results -->(.*)<!-- /results -->", text, flags=re.DOTALL)
    assert quoted is not None
    reports = "".join((ROOT / "results" / name / "report.md").read_text() for name in ("embedded", "smollm2"))
    rows = [line for line in quoted[1].splitlines() if line.startswith(("| ", "- "))]
    assert len(rows) >= 10
    assert [line for line in rows if line not in reports] == []
