"""The writers: a table of awkward values in Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from benchmark.filenames import file_stem
from benchmark.report import latex, markdown, write_report
from benchmark.report.files import as_csv, as_records
from benchmark.report.published import published
from benchmark.report.table import Column, Table, percent, plain, points, quantity, raw
from benchmark.rows import to_frame
from benchmark.stats import Interval
from tasks.catalog import task_names

NAMES = [
    "=1+1",
    "+cmd",
    "-2",
    "@x",
    "\tx",
    "a|b",
    "<script>alert(1)</script>",
    "50 % & #1_{x}^~\\",
    "λ β ↑ ≤ 中",
    "a\nb",
    "`c`",
    "[x]",
]
VALUE = Interval(-0.25, -0.5, None, 3)


def awkward():
    columns = [Column("name", "the name", plain), Column("value", "value", points), Column("n", "n", plain)]
    return Table(
        "t", "T_1", columns, [{"name": name, "value": VALUE, "n": None} for name in NAMES], "100 % | note"
    )


def test_csv_holds_no_formula_and_numbers_stay_numbers():
    rows = list(csv.reader(io.StringIO(as_csv(awkward()))))
    assert rows[0] == ["name", "value", "value_low", "value_high", "n"]
    assert [row[0] for row in rows[1:6]] == ["'=1+1", "'+cmd", "'-2", "'@x", "'\tx"]
    assert [row[0] for row in rows[6:]] == NAMES[5:]
    assert all(row[1:] == ["-0.25", "-0.5", "", ""] for row in rows[1:])


def test_a_heading_is_no_formula_either():
    table = Table("t", "T", [Column("=1", "x", plain)], [{"=1": 1}])
    assert as_csv(table) == "'=1\n1\n"
    assert as_csv(Table("t", "T", [Column("=1", "x", plain)], [])) == "'=1\n"


def test_markdown_keeps_every_cell_in_its_place():
    lines = markdown.section(awkward()).splitlines()
    grid = [line for line in lines if line.startswith("| ")]
    assert len(grid) == 2 + len(NAMES)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in grid} == {4}
    assert "<script>" not in "".join(lines)


def test_latex_has_equal_columns_in_every_line_and_escapes_every_name():
    text = latex.fragment(awkward())
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert [rule for rule in (r"\toprule", r"\midrule", r"\bottomrule") if text.count(rule) != 1] == []
    body = text.split(r"\midrule\n".replace("\\n", "\n"))[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == len(NAMES)
    for line in body:
        assert line.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", line)) == 2
        assert not re.search(r"(?<!\\)[%#_]", line)
    assert r"$\lambda$ $\beta$ $\uparrow$ $\leq$ {[}U+4E2D{]}" in text
    assert r"{[}x{]} &" in text  # a bare one after \\ would be an argument
    assert text.isascii()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_compiles(make_rows, tmp_path):
    frame = to_frame(
        make_rows(np.random.default_rng(0), gain={"grpo": 0.2, "a_b & 50% $x$ λ中": 0.3}, seeds=range(2))
    )
    write_report(frame, tmp_path, title="100 % #1", command="c", engine="e")
    (tmp_path / "tables/awkward.tex").write_text(latex.fragment(awkward()))
    (tmp_path / "awkward.tex").write_text(latex.document("A_b", ["100 %"], ["awkward"]))
    for name in ("report", "awkward"):
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False
        )
        assert done.returncode == 0, done.stdout[-2000:]
        assert (tmp_path / f"{name}.pdf").exists()


def test_json_nests_intervals_and_writes_missing_as_null():
    record = json.loads(json.dumps(as_records(awkward())))[0]
    assert record == {"name": "=1+1", "value": {"mean": -0.25, "low": -0.5, "high": None, "n": 3}, "n": None}


def test_raw_values():
    assert raw(-0.0) == 0
    assert str(raw(-0.0)) == "0.0"
    assert [raw(value) for value in (np.bool_(True), np.int64(3), np.float64(1) / 3, None, float("nan"))] == [
        True,
        3,
        0.333333333,
        None,
        None,
    ]


def test_people_read_a_reason_where_there_are_no_bounds():
    assert percent(Interval(0.5, None, None, 3)) == "50.0 % [–: 3 equal values]"
    assert percent(Interval(0.5, None, None, 1)) == "50.0 % [–: 1 seed]"
    assert points(-0.0) == "+0.00"
    assert (percent(None), plain(None), plain(""), quantity(None)) == ("–", "–", "–", "–")


def test_columns_that_say_nothing_are_left_out_for_people_alone():
    columns = [
        Column("a", "A", plain),
        Column("b", "B", plain, optional=True),
        Column("c", "C", plain, machines_only=True),
    ]
    table = Table("t", "T", columns, [{"a": 1, "b": "", "c": 3}])
    assert (table.header(), table.lines()) == (["A"], [["1"]])
    assert as_csv(table) == "a,b,c\n1,,3\n"


def test_two_names_never_share_a_file():
    names = ["a b", "a_b", "a/b", "../a", "x" * 100, "x" * 101, "λ"]
    stems = {file_stem("task", name) for name in names}
    assert len(stems) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", stem) for stem in stems)


def test_published_numbers_name_tasks_of_ours_and_are_the_paper_s():
    entries = [entry for printed in published() for entry in printed.entry]
    assert {task for entry in entries for task in entry.values} <= set(task_names())
    assert all(printed.source.startswith("arXiv 2509.21154, Table ") for printed in published())
    printed = {(one.model[:4], one.setting, one.arm): one.values for one in entries}
    averages = {  # the printed last column of Table 2
        ("Deep", "", "base"): 0.5175,
        ("Deep", "β = 0", "grpo"): 0.4837,
        ("Deep", "β = 0", "lambda_grpo"): 0.5576,
        ("Deep", "β = 0.04", "grpo"): 0.5394,
        ("Deep", "β = 0.04", "lambda_grpo"): 0.5739,
        ("Llam", "", "base"): 0.0814,
        ("Llam", "β = 0", "grpo"): 0.0842,
        ("Llam", "β = 0", "lambda_grpo"): 0.1001,
        ("Llam", "β = 0.04", "grpo"): 0.0996,
        ("Llam", "β = 0.04", "lambda_grpo"): 0.0973,
    }
    for place, average in averages.items():
        assert sum(printed[place].values()) / 5 == pytest.approx(average, abs=6e-5), place
    table1 = [printed["GPT-", "", arm] for arm in ("grpo", "lambda_grpo")]
    assert [round(5 * sum(values.values()), 2) for values in table1] == [4.23, 14.69]  # of 30 runs
