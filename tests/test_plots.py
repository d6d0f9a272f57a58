"""Pictures: the right files, the same bytes for the same rows, arms that can be told apart without colour."""

from __future__ import annotations

import json

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from benchmark.analysis.curves import learning_curves
from benchmark.plots import draw_pictures
from benchmark.plots.flips import draw_flips
from benchmark.plots.forest import Effect, Scale, draw_forest
from benchmark.plots.learning import draw_learning, draw_panel, draw_seeds, mean_curve
from benchmark.plots.style import arm_styles, short, style
from benchmark.plots.tree import draw_tree, tree_statistics
from benchmark.report import collect
from benchmark.rows import to_frame
from benchmark.stats import Interval, t_interval
from tasks.errors import UserError
from tests.flips import SCORES

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def frame(make_rows):
    return to_frame(make_rows(np.random.default_rng(0), seeds=range(3)))


@pytest.fixture
def curves(frame):
    return learning_curves(frame)


def labels(svg):
    """Read the texts of an SVG: matplotlib draws them as paths and names each in a comment."""
    lines = svg.read_text(encoding="utf-8").splitlines()
    return [line.strip()[5:-4] for line in lines if line.strip().startswith("<!-- ")]


def draw(frame, out, kind="real"):
    results = collect(frame, baseline="grpo", kind=kind, metric="accuracy", endpoints=None)
    return draw_pictures(frame, results, out / "pictures", runs_in=out)


def test_the_pictures_of_a_suite_and_the_same_bytes_in_any_order(frame, tmp_path):
    shuffled = frame.sample(frac=1, random_state=np.random.default_rng(1))
    first, second = draw(frame, tmp_path / "a"), draw(shuffled, tmp_path / "b")
    names = ["curves", "curves_over_tokens", "curves_over_seconds", "curve_sums", "curve_words"]
    names += ["seeds_sums", "seeds_words", "forest_auc", "forest_peak", "forest_final"]
    assert [path.name for path in first] == [f"{name}.{end}" for name in names for end in ("png", "svg")]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes().startswith(PNG if one.suffix == ".png" else b"<?xml")
        assert one.read_bytes() == other.read_bytes(), one.name
    assert "<dc:date>" not in first[1].read_text()
    (tmp_path / "a/pictures/curve_gone.svg").write_text("")
    draw(frame[frame["task"] == "sums"], tmp_path / "a")
    assert not (tmp_path / "a/pictures/curve_gone.svg").exists()
    assert not (tmp_path / "a/pictures/curve_words.png").exists()


def test_a_figure_names_arms_seeds_items_band_and_base(curves, tmp_path):
    styles = arm_styles(curves["arm"], "grpo")
    text = labels(draw_learning(curves, styles, tmp_path / "curves")[1])
    wanted = {"grpo", "lambda_grpo", "untrained policy", "95 % t interval over seeds"}
    assert wanted <= set(text)
    assert {"sums: 3 seeds, 200 items", "words: 3 seeds, 200 items"} <= set(text)
    assert {"Optimizer steps", "Test accuracy"} <= set(text)
    assert any(label.endswith(" %") and label[:-2].isdigit() for label in text)


def test_lines_and_band_show_the_numbers(curves):
    rows = curves.query("task == 'sums'")
    axes = Figure().subplots()
    draw_panel(axes, rows, {"grpo": style(0)}, level=0.9)
    value_ks = rows[rows["arm"] == "grpo"].pivot(index="step", columns="seed", values="test").to_numpy()
    drawn = [list(line.get_ydata()) for line in axes.lines]
    assert all(value_s.tolist() in drawn for value_s in value_ks.T)
    assert pytest.approx(value_ks.mean(axis=1).tolist()) in drawn
    intervals = [t_interval(value_s, 0.9) for value_s in value_ks[1:]]  # no band at step 0: one policy
    corners = {(x, round(y, 9)) for x, y in axes.collections[0].get_paths()[0].vertices.tolist()}
    bounds = zip((10.0, 20.0, 40.0), intervals, strict=True)
    assert corners == {(step, round(y, 9)) for step, i in bounds for y in (i.low, i.high)}


def test_over_tokens_a_curve_is_read_between_checkpoints_and_never_beyond_the_shortest_run():
    points = pd.DataFrame(
        {
            "seed": [0, 0, 0, 1, 1, 1],
            "step": [0, 10, 20] * 2,
            "tokens": [0, 100, 200, 0, 200, 400],
            "test": [0.0, 0.5, 0.5, 0.0, 0.5, 1.0],
        }
    )
    curve = mean_curve(points, "tokens")
    assert curve.x.tolist() == [0, 150, 200]  # mean places 0, 150, 300; the shorter run ends at 200
    assert [round(one.mean, 6) for one in curve.intervals] == [0, (0.5 + 0.375) / 2, 0.5]


def test_an_axis_without_numbers_is_not_drawn(curves, tmp_path):
    styles = arm_styles(curves["arm"], "grpo")
    untimed = curves.assign(seconds=curves["seconds"].where(curves["arm"] == "grpo", 0.0))
    assert draw_learning(untimed, styles, tmp_path / "curves", axis="seconds") == []
    assert draw_learning(untimed, styles, tmp_path / "curves", axis="tokens") != []


def test_one_seed_has_no_band(make_rows, tmp_path):
    curves = learning_curves(to_frame(make_rows(np.random.default_rng(0), seeds=[3], tasks=["sums"])))
    text = labels(draw_learning(curves, arm_styles(curves["arm"], "grpo"), tmp_path / "curve")[1])
    assert "sums: 1 seed, 200 items" in text
    assert not [label for label in text if "interval" in label]


def test_every_seed_has_its_panel(curves, tmp_path):
    paths = draw_seeds(curves, arm_styles(curves["arm"], "grpo"), tmp_path)
    assert [path.name for path in paths[1::2]] == ["seeds_sums.svg", "seeds_words.svg"]
    assert {"seed 0", "seed 1", "seed 2"} <= set(labels(paths[1]))


def test_a_smoke_figure_says_so_and_must_be_asked_for(make_rows, tmp_path):
    smoke = to_frame(make_rows(np.random.default_rng(0), tasks=["sums"], kind="smoke", seeds=range(2)))
    with pytest.raises(UserError, match="kind 'real'"):
        draw(smoke, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    for path in draw(smoke, tmp_path, kind="smoke")[1::2]:
        assert any("SMOKE" in label for label in labels(path)), path.name


def test_a_task_name_stays_inside_the_folder(make_rows, tmp_path):
    rows = make_rows(np.random.default_rng(0), tasks=["../a b", "../a_b"], seeds=range(2), steps=[10])
    paths = draw(to_frame(rows), tmp_path / "out")
    assert {path.parent for path in paths} == {tmp_path / "out/pictures"}
    assert len(set(paths)) == len(paths)
    assert all(path.exists() for path in paths)


def test_twelve_arms_look_different_and_need_no_colour():
    styles = [style(number) for number in range(12)]
    assert len({(one.line, one.marker) for one in styles}) == 12


def test_a_forest_writes_every_number_and_fills_what_is_shown(tmp_path):
    interval = Interval(0.05, 0.01, 0.09, 5)
    effects = [
        Effect("sums", "one", interval, ("+5.00 [+1.00, +9.00]", "5", "4.20"), True),
        Effect("sums", "$two$", Interval(0.02, None, None, 1), ("+2.00 [no interval]", "1", "none"), False),
        Effect("words", "one", None, ("none: no level", "5", "none"), False),
    ]
    styles = arm_styles(["one", "$two$"], "one")
    header = ("points", "pairs", "MDE")
    for log in (False, True):
        chosen = Scale("Difference", 1.0 if log else 0.0, log=log)
        paths = draw_forest(effects, styles, tmp_path / "f", title="T", scale=chosen, header=header)
        text = labels(paths[1])
        wanted = {*effects[0].cells, *effects[1].cells, "none: no level", *header, "sums", "words", "T"}
        assert wanted <= set(text)
        assert "$two$" in {label.replace("\\", "") for label in text}
    assert draw_forest([], styles, tmp_path / "g", title="T", scale=chosen, header=header) == []


def test_tree_statistics_are_read_from_the_runs_and_a_foreign_trainer_is_named(tmp_path):
    for arm, seed in (("grpo", 0), ("grpo", 1), ("trl_grpo", 0)):
        folder = tmp_path / "runs" / arm / f"seed_{seed}"
        folder.mkdir(parents=True)
        own = {} if arm == "trl_grpo" else {"tree/set_size": 2.0 + seed, "tree/nodes_per_token": 0.5}
        own |= {} if arm == "trl_grpo" else {"tree/path_depth": None}
        lines = [json.dumps({"step": step, "tokens": step} | own) for step in (1, 2, 3)]
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    found = tree_statistics(tmp_path, [("trl_grpo", 0), ("grpo", 1), ("grpo", 0), ("grpo", 7)])
    assert found["arm"].tolist() == ["grpo"] * 6 + ["trl_grpo"] * 3
    assert found["tree/set_size"].tolist()[:6] == [2.0] * 3 + [3.0] * 3
    assert found["tree/path_depth"].isna().all()
    styles = arm_styles(found["arm"], "grpo")
    text = labels(draw_tree(found, styles, tmp_path / "tree")[1])
    assert "The process tree during training; not logged by trl_grpo" in text
    assert draw_tree(found[found["arm"] == "trl_grpo"], styles, tmp_path / "none") == []
    (tmp_path / "runs/grpo/seed_0/metrics.jsonl").write_text('{"step": 1}\n[1]\n')
    with pytest.raises(UserError, match=r"metrics.jsonl:2: not a line of metrics"):
        tree_statistics(tmp_path, [("grpo", 0)])


def test_flips_are_drawn_with_their_counts(tmp_path):
    paths = draw_flips(SCORES, tmp_path, baseline="grpo")
    names = ["flipped_by_training", "flipped_between_arms", "flips_sums"]
    assert [path.name for path in paths[1::2]] == [f"{name}.svg" for name in names]
    text = labels(paths[1])
    assert "sums: 5 items, 2 seeds" in text
    assert "0.5 +0.5" in text  # grpo gained 1 and 0 items, and one came and went
    again = draw_flips(SCORES.sample(frac=1, random_state=3), tmp_path / "b", baseline="grpo")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


def test_long_names_are_cut_and_dollars_are_no_formula():
    assert short("a" * 100, 21) == "a" * 10 + "…" + "a" * 10
    assert short("$x$") == r"\$x\$"


def test_drawing_leaves_the_settings_of_matplotlib_alone(curves, tmp_path):
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # another test may have left something behind
        before = dict(matplotlib.rcParams)
        draw_learning(curves, arm_styles(curves["arm"], "grpo"), tmp_path / "curves")
        assert dict(matplotlib.rcParams) == before
