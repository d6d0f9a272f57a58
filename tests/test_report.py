"""The report: golden files in four formats, equal bytes, and no claim that its interval does not carry."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.analysis.compare import arm_table, crossing_table, paired_differences, summarize_runs
from benchmark.endpoints import Endpoints
from benchmark.report import collect, write_report
from benchmark.report.document import build, write
from benchmark.report.readme import fill, results_block
from benchmark.rows import to_frame
from benchmark.stats import improvement_probability, interquartile_mean, variance_parts
from tasks.errors import UserError

ROOT = Path(__file__).parent.parent
FACTS = {
    "title": "Toy",
    "command": "python -m benchmark run toy",
    "engine": "transformers",
}


def files(folder):
    """Return the content of every file of a folder by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(out, name):
    """Read a table of a report as records of text."""
    with (out / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_golden_report_in_four_formats(report_golden, tmp_path):
    report_golden.write_small(tmp_path)
    wanted, found = files(report_golden.FOLDER), files(tmp_path)
    assert {Path(name).suffix for name in wanted} == {".md", ".csv", ".tex", ".json", ".txt"}
    assert found.keys() == wanted.keys()
    for name, content in wanted.items():
        assert found[name].decode() == content.decode(), name


def test_the_golden_numbers_are_those_of_a_calculation_by_hand(report_golden):
    rows = table(report_golden.FOLDER, "differences_steps")
    final = next(row for row in rows if row["endpoint"] == "final value")
    # differences 0.10, 0.12, 0.08, 0.08, 0.12: mean 0.10, SD 0.02, t(0.975, 4) = 2.776445
    half = 2.776445 * 0.02 / 5**0.5
    wanted = [0.1, 0.1 - half, 0.1 + half]
    assert [
        float(final[name]) for name in ("difference", "difference_low", "difference_high")
    ] == pytest.approx(wanted, rel=1e-6)
    assert (final["p"], final["n"], final["verdict"]) == ("0.0625", "5", "higher")
    auc = next(row for row in rows if row["endpoint"] == "area under the curve")
    # trapezoid over 0, 10, 20 of a line from base to final: half of the final difference
    assert float(auc["difference"]) == pytest.approx(0.05)


def test_tables_for_machines_hold_the_unrounded_numbers(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(5)))
    write_report(frame, tmp_path, **FACTS)
    runs = summarize_runs(frame)
    arms = {(row["task"], row["arm"]): row for row in arm_table(runs).to_dict("records")}
    for task in ("sums", "words"):
        for line in table(tmp_path, f"task_{task}"):
            for endpoint in ("base", "final", "peak", "auc", "last3", "auc_tokens"):
                interval = arms[task, line["arm"]][endpoint]
                for name, value in (("", interval.mean), ("_low", interval.low), ("_high", interval.high)):
                    text = line[endpoint + name]
                    assert text == "" if value is None else float(text) == pytest.approx(value, rel=1e-8)
    differences = paired_differences(runs)
    chosen = differences[(differences["axis"] == "tokens") & (differences["unit"] == "metric")]
    lines = table(tmp_path, "differences_tokens")
    records = json.loads((tmp_path / "report.json").read_text())["tables"]["differences_tokens"]["records"]
    for line, nested, row in zip(lines, records, chosen.to_dict("records"), strict=True):
        for name in ("p", "p_t", "p_holm", "p_equivalent", "mde", "n"):
            assert float(line[name]) == nested[name] == pytest.approx(row[name], rel=1e-8)
        assert nested["difference"]["low"] == pytest.approx(row["difference"].low, rel=1e-8)
        assert (line["arm"], line["verdict"]) == (row["arm"], row["verdict"])


def test_more_seeds_than_an_exact_p_can_count(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(5), seeds=range(41), tasks=["sums"]))
    write_report(frame, tmp_path, **FACTS)
    lines = table(tmp_path, "differences_steps")
    assert [(line["p"], line["n"], line["reason"]) for line in lines] == [
        ("", "41", "no exact p: 41 pairs, it is counted for up to 40")
    ] * len(lines)
    assert all(float(line["p_holm"]) < 0.05 for line in lines)


def test_equal_rows_give_equal_bytes_in_any_order(make_rows, tmp_path):
    rows = make_rows(np.random.default_rng(5))
    later = [row.model_copy(update={"scored_at": "2031-01-01T00:00:00Z", "wall_s": None}) for row in rows]
    np.random.default_rng(1).shuffle(later)
    first = write_report(to_frame(rows), tmp_path / "a", **FACTS)
    assert write_report(to_frame(later), tmp_path / "b", **FACTS) == first
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_only_what_is_matched_by_seconds_depends_on_the_clock(make_rows, tmp_path):
    rows = make_rows(np.random.default_rng(5))
    slower = [row.model_copy(update={"train_s": row.train_s * (1 + (row.seed or 0))}) for row in rows]
    first = write_report(to_frame(rows), tmp_path / "a", **FACTS)
    assert write_report(to_frame(slower), tmp_path / "b", **FACTS) == first
    one, other = files(tmp_path / "a"), files(tmp_path / "b")
    assert one.keys() == other.keys()
    changed = {name for name in one if one[name] != other[name]}
    assert changed
    assert all("seconds" in name for name in changed)


def test_equal_bytes_in_every_process(report_golden, tmp_path):
    for seed in ("0", "1"):
        code = (
            "from pathlib import Path; from tests.report_golden import write_small; "
            f"write_small(Path({str(tmp_path / seed)!r}))"
        )
        environment = {"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
    assert files(tmp_path / "0") == files(tmp_path / "1")


NOUN = {
    "final": "final value",
    "peak": "peak",
    "auc": "area under the curve",
    "last3": "mean of the last three",
}


@pytest.mark.parametrize("seed", range(12))
def test_a_claim_needs_its_verdict(make_rows, tmp_path, seed):
    gain = {"grpo": 0.2, "lambda_grpo": (0.1, 0.2, 0.3)[seed % 3]}
    frame = to_frame(make_rows(np.random.default_rng(seed), gain=gain, seed_sd=0.01))
    write_report(frame, tmp_path, **FACTS)
    claims = [*json.loads((tmp_path / "report.json").read_text())["claims"]]
    claims += json.loads((tmp_path / "seconds.json").read_text())["claims"]
    for record in paired_differences(summarize_runs(frame)).to_dict("records"):
        over = "" if record["axis"] == "steps" else f" matched by {record['axis']}"
        task = record["task"].replace("macro_mean", "mean of all tasks")
        claim = next(
            text for text in claims if text.startswith(f"{task}, {NOUN[record['endpoint']]}{over}: ")
        )
        verdict = record["verdict"]
        assert ("is higher than grpo" in claim) == (verdict == "higher")
        assert ("is lower than grpo" in claim) == (verdict == "lower")
        assert ("no difference shown" in claim) == (verdict == "none")
        assert ("no difference beyond 3 points" in claim) == (verdict == "equivalent")
        assert f"MDE {100 * record['mde']:.2f} points" in claim


def test_an_interval_without_zero_is_no_claim_when_the_adjusted_p_is_large(make_row, tmp_path):
    """Two tasks, each with p a little under 5 %: corrected for two, neither shows anything."""
    rows = []
    for task in ("sums", "words"):
        for seed, gain in enumerate((0.01, 0.02, 0.08, 0.05, 0.09, 0.0)):
            for arm, value in (("grpo", 0.4), ("lambda_grpo", 0.4 + gain)):
                rows += [
                    make_row(task=task, arm=arm, seed=seed, value=value, split=s)
                    for s in ("validation", "test")
                ]
        rows += [
            make_row(task=task, arm="base", seed=None, step=0, value=0.3, split=s)
            for s in ("validation", "test")
        ]
    shown = write_report(to_frame(rows), tmp_path, **FACTS)
    line = next(row for row in table(tmp_path, "differences_steps") if row["endpoint"] == "peak")
    assert float(line["difference_low"]) > 0
    assert float(line["p_t"]) < 0.05 < float(line["p_holm"])
    assert line["verdict"] == "none"
    assert "sums, peak: lambda_grpo against grpo: no difference shown after correction" in shown.replace(
        "\n  ", " "
    )
    overview = table(tmp_path, "arms_by_task_peak")[-1]
    assert (overview["won"], overview["won_significant"]) == ("2", "0")


def test_the_arm_by_task_table_counts_wins_losses_and_ties(make_row, tmp_path):
    """Won significantly on sums, lost without significance on words and dots, tied on lines."""
    difference = {
        "sums": (0.1, 0.11, 0.12, 0.1, 0.11),
        "words": (-0.01, 0.02, -0.06, 0.03, -0.02),
        "dots": (-0.01, 0.02, -0.06, 0.03, -0.03),
        "lines": (0.0,) * 5,
    }
    rows = []
    for task, gains in difference.items():
        cells = [("base", None, 0, 0.3)]
        for seed, gain in enumerate(gains):
            cells += [("grpo", seed, 10, 0.4), ("lambda_grpo", seed, 10, 0.4 + gain)]
        rows += [
            make_row(task=task, arm=arm, seed=seed, step=step, value=value, split=split)
            for arm, seed, step, value in cells
            for split in ("validation", "test")
        ]
    write_report(to_frame(rows), tmp_path, **FACTS)
    base, baseline, arm = table(tmp_path, "arms_by_task_peak")
    assert (base["arm"], baseline["arm"], base["won"], baseline["won"]) == ("base", "grpo", "", "")
    tally = ("won", "won_significant", "lost", "lost_significant", "tied", "equivalent")
    assert [arm[name] for name in tally] == ["1", "1", "2", "0", "1", "0"]
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "50.8 % [49.8, 51.8] ↑ |" in text


def test_one_seed_makes_no_statement_and_says_why(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(0), seeds=[1], tasks=["sums"]))
    write_report(frame, tmp_path, **FACTS)
    claims = json.loads((tmp_path / "report.json").read_text())["claims"]
    assert len(claims) == 6
    assert all("no statement; 1 pair of seeds" in claim for claim in claims)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "[\N{EN DASH}: 1 seed]" in text
    assert "nan" not in text.lower()
    assert all(row["p_holm"] == row["difference_low"] == "" for row in table(tmp_path, "differences_steps"))


def test_a_smoke_report_says_that_its_numbers_mean_nothing(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(0), kind="smoke"))
    with pytest.raises(UserError, match="kind 'real'"):
        write_report(frame, tmp_path / "none", **FACTS)
    assert not (tmp_path / "none").exists()
    shown = write_report(frame, tmp_path, kind="smoke", **FACTS)
    for name in ("report.md", "seconds.md", "report.tex", "seconds.tex"):
        assert "numbers mean nothing" in (tmp_path / name).read_text(encoding="utf-8"), name
    assert (tmp_path / "report.md").read_text(encoding="utf-8").startswith("# SMOKE: Toy\n")
    assert json.loads((tmp_path / "report.json").read_text())["smoke"] is True
    assert shown.startswith("SMOKE: Toy\n")
    assert "numbers mean nothing" in shown


def test_rows_of_another_kind_or_metric_leave_no_trace_in_the_main_tables(report_golden, tmp_path):
    rows = report_golden.small_rows()
    smoke = [row.model_copy(update={"kind": "smoke", "device": "tpu"}) for row in rows]
    write_report(to_frame(rows + smoke), tmp_path / "a", endpoints=report_golden.ENDPOINTS, **FACTS)
    wanted = {
        name: content for name, content in files(report_golden.FOLDER).items() if name != "terminal.txt"
    }
    assert files(tmp_path / "a") == wanted
    others = [row.model_copy(update={"metric": "pass@4"}) for row in rows]
    write_report(to_frame(rows + others), tmp_path / "b", endpoints=report_golden.ENDPOINTS, **FACTS)
    assert {row["metric"] for row in table(tmp_path / "b", "metrics")} == {"pass@4"}
    for name in ("task_sums", "differences_steps", "counts"):
        assert (tmp_path / "b/tables" / f"{name}.csv").read_bytes() == wanted[f"tables/{name}.csv"]


def test_rows_from_several_commits_and_versions_are_all_named(report_golden, tmp_path):
    rows = report_golden.small_rows()
    rows[0] = rows[0].model_copy(update={"git_sha": "fff", "git_dirty": True, "versions": {"torch": "2.8.0"}})
    write_report(to_frame(rows), tmp_path, **FACTS)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "- Commit: rows scored at abc123, fff with uncommitted changes\n" in text
    assert "- Versions: torch 2.8.0, torch 2.9.0\n" in text


def test_other_metrics_need_no_validation_rows_and_not_every_task(make_rows, tmp_path):
    """A published test set with 32 samples has pass@8; the task that chooses checkpoints has one sample."""
    rows = make_rows(np.random.default_rng(0), tasks=["aime24", "sums"])
    mine = [row for row in rows if row.task == "aime24" and row.split == "test"]
    rows = [row for row in rows if row.task == "sums" or row.split == "test"]
    rows += [row.model_copy(update={"metric": "pass@8", "value": row.value / 2}) for row in mine]
    hole = {"metric": "maj@8", "value": None, "n_items": 0}
    rows += [row.model_copy(update={"metric": "maj@8"} if row.step else hole) for row in mine]
    write_report(to_frame(rows), tmp_path, **FACTS)
    others = table(tmp_path, "metrics")
    assert [(row["metric"], row["task"], row["arm"]) for row in others] == [
        ("pass@8", "aime24", "grpo"),
        ("pass@8", "aime24", "lambda_grpo"),
    ]
    for row, accuracy in zip(others, table(tmp_path, "task_aime24"), strict=True):  # the same checkpoints
        for name in ("base", "final", "peak"):
            assert float(row[name]) == pytest.approx(float(accuracy[name]) / 2)
    assert "No maj@8 of aime24: some checkpoint has no item" in (tmp_path / "report.md").read_text()


def test_the_primary_axis_is_the_one_of_the_overview(make_rows, tmp_path):
    rows = make_rows(np.random.default_rng(0))
    slow = [
        row.model_copy(update={"tokens": row.tokens * (3 if row.arm == "lambda_grpo" else 1)}) for row in rows
    ]
    endpoints = Endpoints(primary_axis="tokens")
    write_report(to_frame(slow), tmp_path, endpoints=endpoints, **FACTS)
    arms = {row["arm"]: row for row in table(tmp_path, "task_sums")}
    for row in table(tmp_path, "arms_by_task_auc")[1:]:
        assert row["sums"] == arms[row["arm"]]["auc_tokens"]
    assert arms["lambda_grpo"]["auc_tokens"] != arms["lambda_grpo"]["auc"]
    differences = {
        row["task"]: row
        for row in table(tmp_path, "differences_tokens")
        if row["endpoint"] == "area under the curve"
    }
    arm = table(tmp_path, "arms_by_task_auc")[-1]
    lost = [task for task in ("sums", "words") if float(differences[task]["difference"]) < 0]
    assert arm["lost"] == str(len(lost))
    assert "area under the curve, matched by tokens" in (tmp_path / "report.md").read_text()
    still = to_frame(row.model_copy(update={"tokens": 0}) for row in rows)  # no such axis in these rows
    write_report(still, tmp_path, endpoints=endpoints, **FACTS)
    assert {row["sums"] for row in table(tmp_path, "arms_by_task_auc")[1:]} == {""}


def test_alpha_is_the_level_of_every_interval_and_of_every_note(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(0), tasks=["sums"], steps=(2, 5, 10, 20, 40)))
    endpoints = Endpoints(alpha=0.2, levels={"sums": [0.44]})
    write_report(frame, tmp_path, endpoints=endpoints, **FACTS)
    runs = summarize_runs(frame, endpoints=endpoints)
    by_hand = {row["arm"]: row for row in arm_table(runs, 0.8).to_dict("records")}
    for row in table(tmp_path, "task_sums"):
        assert float(row["final_low"]) == pytest.approx(by_hand[row["arm"]]["final"].low)
    times = crossing_table(runs, 0.8)
    wanted = times[(times["arm"] == "grpo") & (times["axis"] == "steps")]["restricted"].iloc[0]
    assert float(table(tmp_path, "levels")[0]["restricted_low"]) == pytest.approx(wanted.low)
    text = (tmp_path / "report.md").read_text()
    assert "Brackets: 80 % t interval" in text
    assert "at 20 % they ask for a 60 % interval inside the margin, so a 80 % interval" in text
    assert "95 %" not in text
    assert "5 % finds" not in text


def test_a_time_with_runs_that_never_arrive_is_a_restricted_mean(make_rows, tmp_path):
    gain = {"grpo": 0.16, "lambda_grpo": 0.3}
    shape = {"tasks": ["sums"], "steps": (2, 5, 10, 20, 40), "n_items": 2000}
    frame = to_frame(make_rows(np.random.default_rng(0), gain=gain, **shape))
    endpoints = Endpoints(levels={"sums": [0.45]})
    write_report(frame, tmp_path, endpoints=endpoints, **FACTS)
    runs = summarize_runs(frame, endpoints=endpoints)
    late = (runs["steps_to_1_censored"] == "right").sum()
    assert 0 < late < 10
    claims = json.loads((tmp_path / "report.json").read_text())["claims"]
    (claim,) = [text for text in claims if "time to 45 %: " in text]
    assert " has a lower restricted mean time than grpo, by " in claim
    assert f"restricted means up to 40 steps: {late} of 10 runs never get there" in claim
    assert "is there" not in claim
    (claim,) = [text for text in claims if text.startswith("sums, speed: ")]
    assert "is faster than grpo, at least " in claim


@pytest.mark.parametrize("seeds", [5, 10])
def test_robust_summaries_are_shown_beside_and_with_bounds_from_ten_seeds(make_rows, tmp_path, seeds):
    frame = to_frame(make_rows(np.random.default_rng(0), seeds=range(seeds)))
    write_report(frame, tmp_path, **FACTS)
    runs = summarize_runs(frame).query("task != 'macro_mean'")
    value = {
        arm: own.pivot(index="seed", columns="task", values="auc").to_numpy()
        for arm, own in runs.groupby("arm")
    }
    baseline, arm = table(tmp_path, "robust")
    assert float(arm["iqm"]) == pytest.approx(interquartile_mean(value["lambda_grpo"]))
    assert float(arm["improvement"]) == pytest.approx(
        improvement_probability(value["lambda_grpo"], value["grpo"])
    )
    assert baseline["improvement"] == ""
    assert (arm["iqm_low"] == "", arm["improvement_low"] == "") == (
        seeds < 10,
        seeds < 10 or float(arm["improvement"]) == 1,
    )


def test_shares_are_of_all_completions_that_were_asked(make_rows, tmp_path):
    """A quarter of 512 items could not be judged at 48 checkpoints of a run, in greedy decoding."""
    counts = {"n_items": 384, "n_asked": 512, "n_samples": 1, "n_ungraded": 128}
    rows = make_rows(
        np.random.default_rng(0), tasks=["sums"], seeds=[0], steps=range(1, 49), gain={"grpo": 0.2}, **counts
    )
    write_report(to_frame(rows), tmp_path, **FACTS)
    (trained,) = (row for row in table(tmp_path, "counts") if row["arm"] == "grpo")
    assert (trained["n_completions"], trained["n_ungraded"], trained["n_ungraded_share"]) == (
        "24576",
        "6144",
        "0.25",
    )
    assert "18432 graded completions on test" in (tmp_path / "report.md").read_text()
    (run,) = summarize_runs(to_frame(rows)).to_dict("records")
    assert (run["n_items"], run["n_completions"], run["n_ungraded"]) == (384, 24576, 6144)


def test_a_lone_baseline_is_reported_without_comparison(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(0), gain={"grpo": 0.2}, tasks=["sums"]))
    shown = write_report(frame, tmp_path, **FACTS)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.count("there is no other arm") >= 2
    assert "higher" not in shown
    assert table(tmp_path, "differences_steps") == []


def test_the_baseline_leads_every_table(make_rows, tmp_path):
    frame = to_frame(
        make_rows(np.random.default_rng(0), gain={"aaa": 0.1, "grpo": 0.2, "zzz": 0.1}, tasks=["sums"])
    )
    write_report(frame, tmp_path, **FACTS)
    for name in ("task_sums", "stability", "peaks"):
        assert list(dict.fromkeys(row["arm"] for row in table(tmp_path, name))) == ["grpo", "aaa", "zzz"]


def test_a_group_has_a_mean_only_when_all_of_its_tasks_are_measured(make_rows, tmp_path):
    whole = ["gpqa_diamond", "bbh", "musr", "sums"]
    frame = to_frame(make_rows(np.random.default_rng(0), tasks=whole))
    write_report(frame, tmp_path / "a", **FACTS)
    rows = table(tmp_path / "a", "groups")
    assert {row["task"] for row in rows} == {"reasoning"}
    parts = [table(tmp_path / "a", f"task_{task}")[0] for task in whole[:3]]
    assert float(rows[0]["auc"]) == pytest.approx(np.mean([float(part["auc"]) for part in parts]))
    assert table(tmp_path / "a", "differences_groups")[0]["task"] == "reasoning"
    frame = to_frame(make_rows(np.random.default_rng(0), tasks=whole[1:]))
    write_report(frame, tmp_path / "b", **FACTS)
    assert table(tmp_path / "b", "groups") == []
    assert (
        "reasoning: no mean, because gpqa_diamond is not measured." in (tmp_path / "b/report.md").read_text()
    )


def test_published_numbers_stand_in_their_own_column_with_their_source(make_rows, tmp_path):
    model = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
    rows = make_rows(np.random.default_rng(0), tasks=["aime24", "sums"], model=model)
    write_report(to_frame(rows), tmp_path / "a", **FACTS)
    lines = {row["arm"]: row["published"] for row in table(tmp_path / "a", "task_aime24")}
    assert lines == {
        "grpo": "33.3 % (β = 0), 30.0 % (β = 0.04)",
        "lambda_grpo": "36.7 % (β = 0), 40.0 % (β = 0.04)",
    }
    assert "published" not in table(tmp_path / "a", "task_sums")[0]
    printed = table(tmp_path / "a", "published")
    assert {row["source"] for row in printed} == {"arXiv 2509.21154, Table 2"}
    assert {row["same_model"] for row in printed if "Llama" in row["published_model"]} == {"no"}
    other = to_frame(row.model_copy(update={"model": "tiny"}) for row in rows)
    write_report(other, tmp_path / "b", **FACTS)
    assert "published" not in table(tmp_path / "b", "task_aime24")[0]
    same = ("differences_steps", "differences_tokens", "arms_by_task_peak", "stability")
    for name in same:  # no number of ours moves
        assert table(tmp_path / "a", name) == table(tmp_path / "b", name)


def test_the_table_goes_between_markers_and_every_line_stands_in_the_report(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(0)))
    write_report(frame, tmp_path, **FACTS)
    results = collect(frame, baseline="grpo", kind="real", metric="accuracy", endpoints=None)
    block = results_block(results, "python -m benchmark run toy")
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- table toy -->\nold\n<!-- /table toy -->\nafter\n")
    fill(page, "toy", block)
    fill(page, "toy", block)  # again: nothing is added
    assert page.read_text() == f"before\n<!-- table toy -->\n{block}\n<!-- /table toy -->\nafter\n"
    report = (tmp_path / "report.md").read_text()
    quoted = [line for line in block.splitlines() if line.startswith(("| ", "- "))]
    assert len(quoted) >= 7
    assert [line for line in quoted if line not in report] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- table toy -->",
        "<!-- /table toy -->x<!-- table toy -->",
        "<!-- table toy --><!-- /table toy -->" * 2,
    ],
)
def test_a_page_without_its_markers_is_left_alone(tmp_path, text):
    page = tmp_path / "README.md"
    page.write_text(text)
    with pytest.raises(UserError, match="want the lines <!-- table toy -->"):
        fill(page, "toy", "block")
    assert page.read_text() == text


def test_old_tables_go(make_rows, tmp_path):
    write_report(to_frame(make_rows(np.random.default_rng(0))), tmp_path, **FACTS)
    assert (tmp_path / "tables/task_words.csv").exists()
    write_report(to_frame(make_rows(np.random.default_rng(0), tasks=["sums"])), tmp_path, **FACTS)
    assert not (tmp_path / "tables/task_words.csv").exists()
    assert not (tmp_path / "tables/task_words.tex").exists()


def test_the_terminal_text_fits_100_columns(make_rows, tmp_path):
    gain = {"grpo": 0.2, "an_arm_with_a_name_that_goes_on_and_on_until_nobody_reads_it": 0.3}
    frame = to_frame(make_rows(np.random.default_rng(0), gain=gain, tasks=["a task " * 30, "sums"]))
    text = write_report(frame, tmp_path, **FACTS)
    assert max(map(len, text.splitlines())) <= 100
    assert text.isprintable() or all(line.isprintable() for line in text.splitlines())


def test_scores_of_items_bring_optimism_beside_the_raw_maximum(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(0), tasks=["sums"], n_items=40))
    generator = np.random.default_rng(2)
    records = []
    for row in frame[frame["split"] == "test"].to_dict("records"):
        right = generator.binomial(2, row["value"], 40)
        records += [
            {name: row[name] for name in ("arm", "seed", "step", "task", "split")}
            | {"item": f"{at:03d}", "cluster": f"{at:03d}", "n": 2, "mean": one / 2}
            for at, one in enumerate(right)
        ]
    scores = pd.DataFrame(records).astype({"seed": "Int64"})
    arguments = {"baseline": "grpo", "kind": "real", "metric": "accuracy", "endpoints": Endpoints()}
    write(build("t", {}, collect(frame, scores=scores, **arguments)), tmp_path)
    for row in table(tmp_path, "peaks"):
        assert 0 < float(row["optimism"]) < 0.2
        assert 0 < float(row["p_equal"]) <= 1
    assert {row["statement"] for row in table(tmp_path, "items")} == {"these items", "items like these"}
    last = scores[(scores["arm"] == "grpo") & (scores["step"] == 40)]
    parts = [variance_parts(run["mean"] * 2, run["n"]) for _, run in last.groupby("seed")]
    shown = table(tmp_path, "item_variance")[0]
    assert (shown["arm"], shown["n_seeds"], shown["n_items"]) == ("grpo", "5", "40")
    assert float(shown["between"]) == pytest.approx(np.mean([part.between for part in parts]))
    assert float(shown["within"]) == pytest.approx(np.mean([part.within for part in parts]))
    assert {row["n_left_out"] for row in table(tmp_path, "items")} == {"0"}
    one = scores.index[(scores["arm"] == "grpo") & (scores["seed"] == 0) & (scores["step"] == 40)][7]
    scores.loc[one, ["n", "mean"]] = [0, np.nan]  # the grader ran out of time once
    write(build("t", {}, collect(frame, scores=scores, **arguments)), tmp_path)
    assert {(row["n_items"], row["n_left_out"]) for row in table(tmp_path, "items")} == {("39", "1")}
    write(build("t", {}, collect(frame, **arguments)), tmp_path)
    assert {row["raw_max"] for row in table(tmp_path, "peaks")} == {""}  # never without it
    assert "raw maximum over checkpoints is not shown" in (tmp_path / "report.md").read_text()
