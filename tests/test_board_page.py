"""The board's files: deterministic, escaped, and saying who is tied with whom."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from entries import add_task, declare_endpoints, edit_entry, edit_rows, make_entry, row_of, suite_change
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from benchmark.board.build import build
from benchmark.board.cells import percent, ratio
from benchmark.board.charts import draw_chart
from benchmark.board.opened import open_entry
from benchmark.board.page import csv_page, html_page, markdown_page, policy
from benchmark.board.reading import Fault
from benchmark.board.records import (
    Confirmed,
    Record,
    Rescored,
    Verb,
    append_record,
    level_of,
    read_records,
    records_path,
)
from benchmark.board.reevaluate import Pairs, judge
from benchmark.board.reproduce import equivalence, reproduce
from benchmark.board.standing import group_key, groups
from benchmark.board.summed import sum_up
from benchmark.board.ties import tied_sets
from benchmark.stats import Interval
from tasks.errors import UserError

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    make_entry(folder, "toy", seeds=6)
    return folder


@pytest.fixture
def entries(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "entries", tmp_path / "entries")
    return tmp_path / "entries"


def name_it(entries: Path, text: str) -> None:
    def change(entry: dict[str, Any]) -> None:
        entry["title"] = text
        entry["arms"][1]["label"] = text
        entry["provenance"]["hardware"] = text
        entry["provenance"]["versions"][text] = text

    edit_entry(entries / "toy", change)


class Elements(HTMLParser):
    """Counts tags and collects what could run or load something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.active: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "src", "href", "action", "srcset", "xlink:href"):
                self.active.append((name, value or ""))


def elements(html: str) -> Elements:
    parser = Elements()
    parser.feed(html)
    return parser


def test_the_same_entries_give_the_same_bytes(entries: Path, tmp_path: Path) -> None:
    first = build(entries)
    shutil.copytree(entries, tmp_path / "copy" / "entries")
    assert build(tmp_path / "copy" / "entries") == first
    assert set(first) == {"index.html", "board.md", "board.csv"}
    assert str(tmp_path) not in "".join(first.values())


def test_the_page_loads_nothing_and_runs_only_its_own(entries: Path) -> None:
    html = build(entries)["index.html"]
    found = elements(html)
    assert found.active == [("href", "data:,"), ("href", "#board")]
    assert found.tags.count("script") == found.tags.count("style") == 1
    script, style = (re.search(rf"<{tag}>(.*?)</{tag}>", html, re.S) for tag in ("script", "style"))
    assert script
    assert style
    assert f'content="{policy(script[1], style[1])}"' in html


@pytest.mark.parametrize("text", [EVIL, "{{ 7 * 7 }}", "</style><b>", "&lt;b&gt;", "' onclick='x"])
def test_names_stay_text_in_html(entries: Path, text: str) -> None:
    plain = elements(build(entries)["index.html"])
    name_it(entries, text)
    html = build(entries)["index.html"]
    assert elements(html).tags == plain.tags
    assert elements(html).active == plain.active
    assert "49" not in re.findall(r'<small title="([^"]*)"', html)


def test_names_stay_text_in_markdown(entries: Path) -> None:
    plain = build(entries)["board.md"]
    name_it(entries, "<b>|x| [a](https://b.c) @you `code` www.d.e **f**")
    found = build(entries)["board.md"]
    assert [line.count(" | ") for line in found.splitlines()] == [
        line.count(" | ") for line in plain.splitlines()
    ]
    for bad in ("<b>", "](", "https://", "@you", "`code`", " www.", "**f"):
        assert bad in plain or bad not in found, bad


@pytest.mark.parametrize("text", ['=HYPERLINK("http://x")', "+1", "-1+2", "@SUM(A1)", " =1", "|calc"])
def test_names_are_no_formulas_in_csv(entries: Path, text: str) -> None:
    name_it(entries, text)
    cells = [cell for row in csv.reader(io.StringIO(build(entries)["board.csv"])) for cell in row]
    assert "'" + text in cells
    assert not [cell for cell in cells if cell.lstrip()[:1] in set("=+-@|%")]


def test_a_faulty_entry_stops_the_page(entries: Path) -> None:
    (entries / "toy" / "rows.jsonl").write_text("{}\n")
    (entries / "note.txt").write_text("")
    with pytest.raises(Fault) as caught:
        build(entries)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["note.txt", "toy"]


def test_no_folder_of_entries(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        build(tmp_path / "nowhere")
    (tmp_path / "entries").mkdir()
    assert "There is no entry yet" in build(tmp_path / "entries")["index.html"]


def cells_of(entries: Path) -> dict[str, dict[str, str]]:
    rows = csv.DictReader(io.StringIO(build(entries)["board.csv"]))
    return {f"{row['entry']} {row['algorithm']}": dict(row) for row in rows}


def test_the_cells_of_the_toy(entries: Path) -> None:
    """13 + (3 seed) % 5 of 80 right at the end, 6 more for lambda_grpo; 4 + sample 0 of the fifth at base."""
    cells = cells_of(entries)
    final = np.array([14 + (3 * seed) % 5 for seed in range(6)]) / 80  # one more in sample 0, which is all
    grpo, ours = cells["toy grpo (baseline)"], cells["toy lambda_grpo"]
    low, high = scipy_stats.t.interval(0.95, 5, final.mean(), scipy_stats.sem(final))
    assert grpo["final"] == f"{100 * final.mean():.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    assert ours["final"].startswith(f"{100 * (final + 6 / 80).mean():.1f} %")
    assert (grpo["seeds"], grpo["samples"]) == ("6", "960")  # 6 seeds x 2 looks x 80 items
    assert (grpo["trunc."], grpo["extr."]) == ("2.5 %", "93.8 %")  # 2 and 3 of 80
    assert (grpo["tied set"], ours["tied set"]) == ("–", "best")  # every seed differs by the same 6 items
    assert "no spread to test" in grpo["missing"]
    assert grpo["speed ratio"] == "–"
    assert "speed ratio: this is the baseline" in grpo["missing"]
    assert grpo["verified"] == "declared"
    edit_rows(
        entries / "toy",
        lambda rows: [row.update(n_items=row["n_asked"] - 8, n_ungraded=8) for row in rows] and None,
    )
    ungraded = cells_of(entries)["toy grpo (baseline)"]
    assert (ungraded["samples"], ungraded["trunc."], ungraded["extr."]) == ("960", "2.5 %", "83.8 %")


def confirm(entries: Path, target: str, level: Verb, by: str) -> None:
    digests = {name: open_entry(entries / name).digest for name in (target, by)}
    finding = Confirmed(level=level, by_entry=by, content=digests[by])
    append_record(records_path(entries, target), Record(entry=digests[target], by="us", finding=finding))


def test_a_claim_is_shown_and_delists_once_a_maintainer_confirms_it(entries: Path, tmp_path: Path) -> None:
    make_entry(tmp_path / "more", "newer", seeds=6, lead=0, first=20, supersedes=["toy"])
    make_entry(tmp_path / "more", "doubt", seeds=6, lead=0, first=40, kind="refutation", refutes=["newer"])
    for name in ("newer", "doubt"):
        shutil.copytree(tmp_path / "more" / "entries" / name, entries / name)
    cells = cells_of(entries)
    assert cells["toy lambda_grpo"]["status"] == "claim: superseded by newer"
    assert cells["newer grpo (baseline)"]["status"] == "claim: refuted by doubt"
    assert cells["toy lambda_grpo"]["tied set"] == "best"
    confirm(entries, "toy", "superseded", "newer")
    confirm(entries, "newer", "refuted", "doubt")
    cells = cells_of(entries)
    assert cells["toy lambda_grpo"]["verified"] == "declared"
    assert cells["toy lambda_grpo"]["status"] == "superseded by newer"
    assert cells["newer grpo (baseline)"]["status"] == "refuted by doubt"
    assert cells["toy lambda_grpo"]["tied set"] == "–"
    assert cells["doubt lambda_grpo"]["tied set"] == "best"
    edit_entry(entries / "newer", lambda entry: entry.update(title="changed afterwards"))
    assert cells_of(entries)["toy lambda_grpo"]["status"] == "claim: superseded by newer"
    shutil.rmtree(entries / "toy")
    with pytest.raises(Fault, match="newer: speaks of 'toy', which is no entry"):
        build(entries)


def test_a_run_counts_once_in_a_table(entries: Path) -> None:
    copy = Path(shutil.copytree(entries / "toy", entries / "copy"))
    edit_entry(copy, lambda entry: entry.update(id="copy", author="Ann", supersedes=["toy"]))
    with pytest.raises(Fault, match="toy: 24 of its trained checkpoints have the weights of copy, in"):
        build(entries)
    confirm(entries, "toy", "superseded", "copy")
    assert cells_of(entries)["copy lambda_grpo"]["tied set"] == "best"
    edit_entry(copy, suite_change(train={"learning_rate": 1.0}))
    assert cells_of(entries)["toy lambda_grpo"]["tied set"] == "best"  # another table


def test_a_task_left_out_is_neither_compared_nor_ranked(entries: Path) -> None:
    shutil.copytree(entries / "toy", entries / "omits")
    edit_entry(entries / "omits", lambda entry: entry.update(id="omits"))
    add_task(entries / "toy")
    add_task(entries / "omits", missing="set add2 is not on this machine")
    keys = [group_key(sum_up(open_entry(entries / name))) for name in ("toy", "omits")]
    assert keys[0] != keys[1]
    cells = cells_of(entries)
    assert cells["toy lambda_grpo"]["tied set"] == "best"
    omits = cells["omits lambda_grpo"]
    for column in ("tied set", "AUC", "steps to top level", "speed ratio", "peak on test", "final"):
        assert omits[column] == "–", column
    assert "tied set: not ranked: add2 test is not measured: set add2 is not on" in omits["missing"]
    assert omits["per task"].startswith("sums1")


@pytest.mark.parametrize(
    "changes",
    [
        {"arm": {"mine": {"summary": "", "command": ["x"], "check": []}}},
        {"retention": {"keep": "all"}},
        {"max_sequences": 1},
    ],
    ids=str,
)
def test_two_authors_meet_whatever_their_arms_and_disks(entries: Path, changes: dict[str, Any]) -> None:
    before = group_key(sum_up(open_entry(entries / "toy")))
    edit_entry(entries / "toy", suite_change(**changes))
    assert group_key(sum_up(open_entry(entries / "toy"))) == before
    edit_entry(entries / "toy", suite_change(train={"learning_rate": 1.0}))
    assert group_key(sum_up(open_entry(entries / "toy"))) != before


def test_a_speed_says_which_levels_it_leaves_out() -> None:
    cell = ratio(Interval(1.2, 1.1, 1.3, 6), "without the levels 0.5: censored in some run")
    assert (cell.plain, cell.reason) == ("1.20 × [1.10, 1.30]", "")
    assert cell.why == "without the levels 0.5: censored in some run"
    assert ratio(None, "no level").reason == "no level"


def test_a_censored_level_stands_beside_the_speed(tmp_path: Path) -> None:
    """Only some of grpo get to 0.22."""
    folder = make_entry(tmp_path, seeds=6)
    declare_endpoints(folder, levels={"sums1": [0.15, 0.22]})
    files = build(tmp_path / "entries")
    note = "5 of 12 runs never get to some level and count with the end"
    assert all(note in files[name] for name in ("index.html", "board.csv"))
    assert note in files["board.md"]
    assert re.match(r"≥ \d\.\d\d × \[", cells_of(tmp_path / "entries")["toy lambda_grpo"]["speed ratio"])


def test_one_seed_says_nothing(tmp_path: Path) -> None:
    make_entry(tmp_path, "small", seeds=1)
    cells = cells_of(tmp_path / "entries")["small grpo (baseline)"]
    assert cells["tied set"] == "–"
    assert "tied set: 1 training seed: a test needs 5" in cells["missing"]
    assert "[no interval: 1 seed]" in cells["AUC"]


@pytest.mark.parametrize(
    ("n", "text"), [(1, "50.0 % [no interval: 1 seed]"), (6, "50.0 % [no interval: 6 equal values]")]
)
def test_a_value_without_an_interval_says_why(n: int, text: str) -> None:
    assert percent(Interval(0.5, None, None, n), "").plain == text


def test_more_seeds_than_signs_can_be_counted_for(tmp_path: Path) -> None:
    folder = make_entry(tmp_path, "many", seeds=41)
    differences = sum_up(open_entry(folder)).differences
    tested = differences[differences["difference"].notna()]
    assert set(tested["n"]) == {41}
    assert tested["p"].isna().all()
    assert cells_of(tmp_path / "entries")["many lambda_grpo"]["seeds"] == "41"


# --- ties ---


def seeds(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


@pytest.mark.parametrize("number", range(8))
def test_ties_are_t_tests_against_the_best_after_holm(number: int) -> None:
    rng = np.random.default_rng(number)
    who = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "z")]
    values = {one: rng.normal(0.02 * at, 0.02, 6) for at, one in enumerate(who)}
    ties = tied_sets({one: seeds(*of) for one, of in values.items()}, alpha=0.05, min_seeds=5)
    best = max(who, key=lambda one: values[one].mean())
    others = [one for one in who if one != best]
    p = [
        scipy_stats.ttest_rel(values[best], values[one]).pvalue
        if best[0] == one[0]
        else scipy_stats.ttest_ind(values[best], values[one], equal_var=False).pvalue
        for one in others
    ]
    rejected, adjusted, _, _ = multipletests(p, 0.05, method="holm")
    assert ties[best].place == "best"
    assert [ties[one].place == "below" for one in others] == list(rejected)
    assert [ties[one].p for one in others] == pytest.approx(list(adjusted), rel=1e-9)


def test_lower_can_be_better_and_too_few_seeds_are_left_out() -> None:
    values = {
        ("a", "x"): seeds(1.0, 1.1, 0.9, 1.0, 1.2),
        ("b", "y"): seeds(2.0, 2.1, 1.9, 2.2, 2.0),
        ("c", "z"): seeds(0.1),
    }
    ties = tied_sets(values, alpha=0.05, min_seeds=5, sign=-1)
    assert [ties[one].place for one in values] == ["best", "below", "no statement"]
    assert ties["c", "z"].reason == "1 training seed: a test needs 5"


def test_no_spread_is_no_statement() -> None:
    values = {("a", "x"): seeds(*[0.5] * 5), ("b", "x"): seeds(*[0.4] * 5), ("a", "y"): seeds(*[0.4] * 5)}
    ties = tied_sets(values, alpha=0.05, min_seeds=5)
    assert [ties[one].place for one in values] == ["best", "no statement", "no statement"]


def test_equal_values_have_no_spread_whatever_their_rounding() -> None:
    """The standard deviation of six times 0.1 is 1.4e-17."""
    assert np.std([0.1] * 6) > 0
    values = {("a", "x"): seeds(*[0.1] * 6), ("b", "x"): seeds(*[0.0999] * 6)}
    ties = tied_sets(values, alpha=0.05, min_seeds=5)
    assert ties["b", "x"].place == "no statement"
    assert "no spread to test" in ties["b", "x"].reason
    assert equivalence(values["a", "x"], values["b", "x"], 0.03) is None


def test_a_tie_that_holm_makes() -> None:
    """p = .03 alone is significant, among three it is not."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 6)
    shift = scipy_stats.t.ppf(1 - 0.03 / 2, 5) * noise.std(ddof=1) / np.sqrt(6)
    best = np.full(6, 0.5)
    worse = best - (noise - noise.mean() + shift)
    alone = tied_sets({("a", "x"): seeds(*best), ("a", "y"): seeds(*worse)}, alpha=0.05, min_seeds=5)
    assert alone["a", "y"].place == "below"
    assert alone["a", "y"].p == pytest.approx(0.03, rel=1e-6)
    more = {("a", name): seeds(*worse) for name in "uvw"} | {("a", "x"): seeds(*best)}
    assert tied_sets(more, alpha=0.05, min_seeds=5)["a", "u"].place == "tied"


# --- curves ---


def test_a_curve_has_the_values_of_its_rows(entries: Path) -> None:
    one = sum_up(open_entry(entries / "toy"))
    chart = draw_chart("sums1", one.curves, "lambda_grpo", "grpo", {"lambda_grpo": "ours", "grpo": "GRPO"})
    assert chart.n == len(chart.seeds) == 6
    top = 0.4  # the next round number above 24 of 80
    mean = one.curves[one.curves["arm"] == "lambda_grpo"].groupby("step")["test"].mean()
    for (x, y), (step, value) in zip(chart.marks, mean.items(), strict=True):
        assert x == pytest.approx(chart.left + (chart.right - chart.left) * step / 4, abs=0.06)
        assert y == pytest.approx(chart.bottom - (chart.bottom - chart.top) * value / top, abs=0.06)
    assert chart.y_ticks[-1].text == "40 %"
    assert abs(chart.own_at - chart.other_at) >= 13
    assert f"to {mean.iloc[-1]:.1%} at step 4" in chart.summary


# --- verification ---


def test_a_record_counts_for_the_very_content_it_names(entries: Path) -> None:
    path, digest = records_path(entries, "toy"), open_entry(entries / "toy").digest
    record = Record(entry=digest, by="us", finding=Rescored(grader_version="2", rows=18))
    append_record(path, record)
    append_record(path, record)
    assert read_records(path) == [record]
    assert cells_of(entries)["toy lambda_grpo"]["verified"] == "re-scored"
    name_it(entries, "changed afterwards")
    assert cells_of(entries)["toy changed afterwards"]["verified"] == "declared"


def test_a_record_that_is_none(entries: Path) -> None:
    path = records_path(entries, "toy")
    path.parent.mkdir()
    path.write_text(json.dumps({"entry": "0" * 64, "by": "us", "finding": {"level": "blessed"}}) + "\n")
    with pytest.raises(Fault, match=r"verification/toy\.jsonl:1"):
        read_records(path)


def test_no_record_is_declared() -> None:
    assert level_of([], "0" * 64) == "declared"


def pairs(old: list[float], new: list[float], identical: int) -> list[Pairs]:
    items = [("sums1", "test", str(at)) for at in range(len(new))]
    return [Pairs(items=items, old=old, new=new, identical=identical, texts=len(new))]


def test_equal_texts_score_alike() -> None:
    finding, line = judge(pairs([0.0, 1.0] * 50, [0.0, 1.0] * 50, 100), "vllm", 0.03)
    assert finding is not None
    assert (finding.identical, finding.difference, finding.items) == (1.0, 0.0, 100)
    assert line.startswith("scores alike")


def test_scores_that_fell_are_a_fault() -> None:
    with pytest.raises(Fault, match="score differently"):
        judge(pairs([1.0] * 100, [0.0] * 20 + [1.0] * 80, 80), "vllm", 0.03)


def test_few_items_prove_nothing() -> None:
    finding, line = judge(pairs([1.0] * 10, [0.0] + [1.0] * 9, 9), "vllm", 0.03)
    assert finding is None
    assert "draw more with --units" in line


def test_scores_that_only_cancel_out_are_not_alike() -> None:
    finding, line = judge(pairs([0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0], 0), "vllm", 0.03)
    assert finding is None
    assert "mean score +0.0000" in line


def test_texts_that_differ_without_a_score_that_does() -> None:
    """If 3 % of items differed, 98 would all agree with p = .0505 and 99 with .049."""
    assert judge(pairs([1.0] * 98, [1.0] * 98, 0), "vllm", 0.03)[0] is None
    finding = judge(pairs([1.0] * 99, [1.0] * 99, 0), "vllm", 0.03)[0]
    assert finding is not None
    assert finding.p_equivalent == pytest.approx(0.97**99)


def test_an_item_counts_once_however_many_units_answer_it() -> None:
    one = pairs([1.0] * 40, [0.0] + [1.0] * 39, 39)
    finding, line = judge(one * 20, "vllm", 0.03)
    assert finding is None
    assert line == judge(one, "vllm", 0.03)[1].replace("of 40 texts", "of 800 texts")


def test_a_reproduction_is_equivalent_in_every_arm(made: Path, tmp_path: Path) -> None:
    toy = open_entry(made / "entries" / "toy")
    same = open_entry(make_entry(tmp_path, "again", seeds=6, first=20, author="Ann"))
    other = open_entry(make_entry(tmp_path, "other", seeds=6, first=20, lead=30, author="Ann"))
    finding, _ = reproduce(toy, same)
    assert finding is not None
    assert (finding.reproduction, finding.reproduced_by) == ("again", "Ann")
    assert finding.content == same.digest
    assert reproduce(toy, other)[0] is None
    elsewhere = make_entry(tmp_path, "elsewhere", seeds=6, first=20, author="Ann")
    edit_entry(elsewhere, suite_change(dtype="bfloat16"))
    with pytest.raises(Fault, match="it is another one"):
        reproduce(toy, open_entry(elsewhere))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"horizon": {"steps": 1000}}, "ends at 4 steps, the horizon is 1000"),
        ({"primary_axis": "seconds"}, "trained on EPYC, gpu: seconds compare on one kind of machine only"),
    ],
    ids=["horizon", "devices"],
)
def test_nothing_is_reproduced_where_nothing_was_compared(
    entries: Path, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    again = make_entry(tmp_path, "again", seeds=6, first=20, author="Ann")
    for folder in (entries / "toy", again):
        declare_endpoints(folder, **changes)
        edit_rows(
            folder, lambda rows: row_of(rows, "grpo", rows[-1]["seed"], 4, "test").update(train_device="gpu")
        )
    with pytest.raises(Fault, match=f"toy: not comparable: arm grpo has no primary endpoint: .*{reason}"):
        reproduce(open_entry(entries / "toy"), open_entry(again))


def test_neither_a_copy_nor_the_same_author_reproduces(entries: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(entries / "toy", tmp_path / "copy"))
    edit_entry(copy, lambda entry: entry.update(id="copy", author="Ann"))
    toy = open_entry(entries / "toy")
    with pytest.raises(Fault, match="24 checkpoints have the weights of toy: a copy is no reproduction"):
        reproduce(toy, open_entry(copy))
    nobody = open_entry(make_entry(tmp_path, "nobody", seeds=6, first=20))
    with pytest.raises(Fault, match="its author is nobody"):
        reproduce(toy, nobody)
    edit_entry(entries / "toy", lambda entry: entry.update(author="ANN "))
    again = open_entry(make_entry(tmp_path, "again", seeds=6, first=20, author="Ann"))
    with pytest.raises(Fault, match="somebody else reproduces"):
        reproduce(open_entry(entries / "toy"), again)


def test_equivalence_is_two_one_sided_welch_tests() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(0.50, 0.01, 6), rng.normal(0.505, 0.02, 8)
    low = scipy_stats.ttest_ind(left + 0.03, right, equal_var=False, alternative="greater").pvalue
    high = scipy_stats.ttest_ind(left - 0.03, right, equal_var=False, alternative="less").pvalue
    assert equivalence(seeds(*left), seeds(*right), 0.03) == pytest.approx(max(low, high), rel=1e-9)
    assert equivalence(seeds(0.5), seeds(0.5), 0.03) is None


def test_rows_of_different_tables_are_not_compared(made: Path, tmp_path: Path) -> None:
    toy = sum_up(open_entry(made / "entries" / "toy"))
    shutil.copytree(made / "entries", tmp_path / "entries")
    (tmp_path / "entries" / "toy").rename(tmp_path / "entries" / "other")

    def another_engine(entry: dict[str, Any]) -> None:
        from benchmark.board.declared import digest_of

        entry["id"] = "other"
        entry["suite"]["dtype"] = "bfloat16"
        entry["suite_hash"] = digest_of(entry["suite"])

    edit_entry(tmp_path / "entries" / "other", another_engine)
    other = sum_up(open_entry(tmp_path / "entries" / "other"))
    assert [len(group.rows) for group in groups([toy, other])] == [2, 2]
    tables = groups([toy, toy])
    assert [len(group.rows) for group in tables] == [4]
    assert html_page(tables).count('<table class="board"') == 1
    assert markdown_page(tables).count("\n## ") == 1
    assert csv_page(tables).count("\n") == 5
