"""The report: golden text, re-readable numbers, and no claim that its interval does not carry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmark.compare import arm_table, paired_differences, summarize_runs
from benchmark.report import write_report
from benchmark.rows import to_frame
from tasks.errors import UserError

FACTS = {
    "title": "Toy",
    "command": "python -m benchmark run toy",
    "commit": "abc123",
    "engine": "transformers",
}


@pytest.fixture
def small(make_row):
    """Two arms, three seeds, one checkpoint: numbers that can be checked by hand."""
    value = {("grpo", 0): 0.40, ("grpo", 1): 0.42, ("grpo", 2): 0.44}
    value |= {("lambda_grpo", 0): 0.50, ("lambda_grpo", 1): 0.54, ("lambda_grpo", 2): 0.52}
    cells = [("base", None, 0, 0.3), *((arm, seed, 10, v) for (arm, seed), v in value.items())]
    return [
        make_row(arm=arm, seed=seed, step=step, value=v, split=split)
        for arm, seed, step, v in cells
        for split in ("validation", "test")
    ]


GOLDEN = """\
# Toy

- Command: `python -m benchmark run toy`
- Commit: abc123; rows scored at abc123
- Engine: transformers; device cpu
- Versions: torch 2.9.0
- Suite: toy, starting policy tiny
- Metric: accuracy

Brackets: 95 % t interval over 3 training seeds; the items are fixed, so it speaks about these items only.
Final, peak and area are test values. Peak is the test value at the step that validation picks. The area is the mean height of the curve from step 0 to the last step.
Base is one untrained policy, the same for every arm: it has no interval over seeds.

## sums

| arm | base | final | peak (chosen on validation) | area under the curve | seeds | items |
| --- | --- | --- | --- | --- | --- | --- |
| grpo | 30.0 % | 42.0 % [37.0, 47.0] | 42.0 % [37.0, 47.0] | 36.0 % [33.5, 38.5] | 3 | 100 |
| lambda_grpo | 30.0 % | 52.0 % [47.0, 57.0] | 52.0 % [47.0, 57.0] | 41.0 % [38.5, 43.5] | 3 | 100 |

## Differences from grpo, paired by seed

| task | arm | endpoint | difference (points) | p | MDE (points) | pairs |
| --- | --- | --- | --- | --- | --- | --- |
| sums | lambda_grpo | final value | +10.00 [+5.03, +14.97] | 0.25 | 6.53 | 3 |
| sums | lambda_grpo | peak | +10.00 [+5.03, +14.97] | 0.25 | 6.53 | 3 |
| sums | lambda_grpo | area under the curve | +5.00 [+2.52, +7.48] | 0.25 | 3.26 | 3 |

p: exact two-sided sign-flip test; the smallest it can give is 0.25 (n = 3). MDE: the minimum detectable effect, the true difference that a two-sided paired t test at 5 % finds with 80 % power. Not corrected for making 3 comparisons.

- sums, final value: lambda_grpo is higher than grpo by 10.00 points (95 % interval 5.03 to 14.97, 3 pairs, p 0.25, MDE 6.53).
- sums, peak: lambda_grpo is higher than grpo by 10.00 points (95 % interval 5.03 to 14.97, 3 pairs, p 0.25, MDE 6.53).
- sums, area under the curve: lambda_grpo is higher than grpo by 5.00 points (95 % interval 2.52 to 7.48, 3 pairs, p 0.25, MDE 3.26).

## Completions without a clean answer

| task | arm | completions | truncated | unparsed | ungraded |
| --- | --- | --- | --- | --- | --- |
| sums | base | 200 | 2 (1.0 %) | 3 (1.5 %) | 1 (0.5 %) |
| sums | grpo | 600 | 6 (1.0 %) | 9 (1.5 %) | 3 (0.5 %) |
| sums | lambda_grpo | 600 | 6 (1.0 %) | 9 (1.5 %) | 3 (0.5 %) |

Test split, all checkpoints and seeds. Truncated and unparsed completions count as wrong; ungraded ones are left out of the values.
"""  # noqa: E501


def test_golden_text(small, tmp_path):
    shown = write_report(to_frame(small), tmp_path, **FACTS)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == GOLDEN
    header, *sentences = shown.split("\n\n")
    assert header == "Toy"
    assert sentences[-1].splitlines() == [
        line.removeprefix("- ") for line in GOLDEN.splitlines() if line.startswith("- sums")
    ]


def test_csv_files_hold_the_unrounded_numbers(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(5)))
    write_report(frame, tmp_path, **FACTS)
    runs = summarize_runs(frame)
    table = pd.read_csv(tmp_path / "report.csv").set_index(["task", "arm", "endpoint"])
    assert table.index.is_unique
    for row in arm_table(runs).to_dict("records"):
        for endpoint in ("base", "final", "peak", "auc"):
            line, interval = table.loc[(row["task"], row["arm"], endpoint)], row[endpoint]
            wanted = [np.nan if x is None else x for x in (interval.mean, interval.low, interval.high)]
            assert line[["mean", "low", "high"]].tolist() == pytest.approx(
                wanted, rel=1e-8, nan_ok=True
            )  # 9 digits
            assert (line["n_seeds"], line["n_items"]) == (interval.n, 200)
    lines = pd.read_csv(tmp_path / "differences.csv", keep_default_na=False).to_dict("records")
    for line, record in zip(lines, paired_differences(runs).to_dict("records"), strict=True):
        wanted = [record["difference"].mean, record["difference"].low, record["p"], record["mde"]]
        assert [float(line[name]) for name in ("mean", "low", "p", "mde")] == pytest.approx(wanted, rel=1e-8)
        assert [line[name] for name in ("task", "arm", "baseline", "endpoint", "n", "reason")] == [
            record[name] for name in ("task", "arm", "baseline", "endpoint", "n", "reason")
        ]


def test_equal_rows_give_equal_bytes_in_any_order(make_rows, tmp_path):
    rows = make_rows(np.random.default_rng(5))
    later = [
        row.model_copy(update={"scored_at": "2031-01-01T00:00:00Z", "wall_s": None, "train_s": 9.0})
        for row in rows
    ]
    first = write_report(to_frame(rows), tmp_path / "a", **FACTS)
    assert write_report(to_frame(later[::-1]), tmp_path / "b", **FACTS) == first
    for name in ("report.md", "report.csv", "differences.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def sentences(frame, out):
    """The claims of a report, by task and endpoint."""
    lines = write_report(frame, out, **FACTS).split("\n\n")[-1].splitlines()
    return {line.partition(":")[0]: line for line in lines}


@pytest.mark.parametrize("seed", range(12))
def test_a_claim_needs_an_interval_without_zero(make_rows, tmp_path, seed):
    gain = {"grpo": 0.2, "lambda_grpo": (0.1, 0.2, 0.3)[seed % 3]}
    frame = to_frame(make_rows(np.random.default_rng(seed), gain=gain))
    claims = sentences(frame, tmp_path)
    noun = {"final": "final value", "peak": "peak", "auc": "area under the curve"}
    for record in paired_differences(summarize_runs(frame)).to_dict("records"):
        claim, interval = claims[f"{record['task']}, {noun[record['endpoint']]}"], record["difference"]
        assert ("is higher than grpo" in claim) == (interval.low > 0)
        assert ("is lower than grpo" in claim) == (interval.high < 0)
        assert ("no difference shown" in claim) == (interval.low <= 0 <= interval.high)
        assert f"{100 * record['mde']:.2f}" in claim


def test_one_seed_makes_no_statement_and_says_why(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(0), seeds=[1], tasks=["sums"]))
    claims = sentences(frame, tmp_path)
    assert len(claims) == 3
    assert all("no statement; 1 pair of seeds" in claim for claim in claims.values())
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "[\N{EN DASH}: 1 seed]" in text
    assert "nan" not in text.lower()


def test_a_smoke_report_says_that_its_numbers_mean_nothing(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(0), kind="smoke"))
    with pytest.raises(UserError, match="kind 'real'"):
        write_report(frame, tmp_path / "none", **FACTS)
    assert not (tmp_path / "none").exists()
    shown = write_report(frame, tmp_path, kind="smoke", **FACTS)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# SMOKE: Toy\n")
    assert shown.startswith("SMOKE: Toy\n")
    assert "numbers mean nothing" in text
    assert "numbers mean nothing" in shown


def test_rows_of_another_kind_or_metric_leave_no_trace(small, tmp_path):
    others = [{"kind": "smoke"}, {"metric": "pass_at_4"}]
    noise = [row.model_copy(update=fields | {"device": "tpu"}) for row in small for fields in others]
    write_report(to_frame(small + noise), tmp_path, **FACTS)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == GOLDEN


def test_timing_is_a_section_of_its_own(small, tmp_path):
    write_report(to_frame(small), tmp_path, timing={"training": "12 min", "a|b": "1 s"}, **FACTS)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert (
        text
        == GOLDEN + "\n## Timing\n\n| what | time |\n| --- | --- |\n| training | 12 min |\n| a\\|b | 1 s |\n"
    )


def test_rows_from_several_commits_and_versions_are_all_named(small, tmp_path):
    small[0] = small[0].model_copy(
        update={"git_sha": "fff", "git_dirty": True, "versions": {"torch": "2.8.0"}}
    )
    write_report(to_frame(small), tmp_path, **FACTS)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "- Commit: abc123; rows scored at abc123, fff with uncommitted changes\n" in text
    assert "- Versions: torch 2.8.0, torch 2.9.0\n" in text


def test_a_lone_baseline_is_reported_without_comparison(make_rows, tmp_path):
    frame = to_frame(make_rows(np.random.default_rng(0), gain={"grpo": 0.2}, tasks=["sums"]))
    shown = write_report(frame, tmp_path, **FACTS)
    assert "there is no other arm" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "higher" not in shown
    assert (tmp_path / "differences.csv").read_text().count("\n") == 1


def test_the_baseline_leads_every_table(make_rows, tmp_path):
    frame = to_frame(
        make_rows(np.random.default_rng(0), gain={"aaa": 0.1, "grpo": 0.2, "zzz": 0.1}, tasks=["sums"])
    )
    write_report(frame, tmp_path, **FACTS)
    arms = pd.read_csv(tmp_path / "report.csv")["arm"].unique().tolist()
    assert arms == ["grpo", "aaa", "zzz"]
