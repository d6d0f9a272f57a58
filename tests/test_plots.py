"""Figures: the right files, the same bytes for the same rows, arms that can be told apart without colour."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmark import plots
from benchmark.curves import learning_curves
from benchmark.plots import draw_curves
from benchmark.rows import to_frame
from benchmark.stats import t_interval
from tasks.errors import UserError

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def frame(make_rows):
    return to_frame(make_rows(np.random.default_rng(0)))


def labels(svg):
    """Read the texts of an SVG: matplotlib draws them as paths and names each in a comment."""
    return [line.strip()[5:-4] for line in svg.read_text().splitlines() if line.strip().startswith("<!-- ")]


def test_one_figure_per_task_and_one_of_all(frame, tmp_path):
    paths = draw_curves(frame, tmp_path / "new")
    names = [
        "curve_sums.png",
        "curve_sums.svg",
        "curve_words.png",
        "curve_words.svg",
        "curves.png",
        "curves.svg",
    ]
    assert [path.name for path in paths] == names
    for path in paths:
        assert path.read_bytes().startswith(PNG if path.suffix == ".png" else b"<?xml")
    shown = [{name for name in ("sums", "words") if f"{name}: " in path.read_text()} for path in paths[1::2]]
    assert shown == [{"sums"}, {"words"}, {"sums", "words"}]


def test_a_figure_names_arms_seeds_items_band_and_base(frame, tmp_path):
    text = labels(draw_curves(frame, tmp_path)[1])
    wanted = {"grpo", "lambda_grpo", "untrained policy", "95 % t interval over seeds"}
    assert wanted <= set(text)
    assert {"sums: 5 seeds, 200 items", "Optimizer steps", "Test accuracy"} <= set(text)
    assert any(label.endswith(" %") and label[:-2].isdigit() for label in text)


def test_equal_rows_give_equal_bytes_in_any_order(frame, tmp_path):
    shuffled = frame.sample(frac=1, random_state=np.random.default_rng(1))
    first, second = draw_curves(frame, tmp_path / "a"), draw_curves(shuffled, tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert "<dc:date>" not in first[1].read_text()


def test_lines_and_band_show_the_numbers(frame):
    rows = learning_curves(frame).query("task == 'sums'")
    axes = Figure().subplots()
    assert plots._panel(axes, rows, {"grpo": plots._style(0)}, 0.9)
    value_ks = rows[rows["arm"] == "grpo"].pivot(index="step", columns="seed", values="test").to_numpy()
    drawn = [list(line.get_ydata()) for line in axes.lines]
    assert all(value_s.tolist() in drawn for value_s in value_ks.T)
    assert pytest.approx(value_ks.mean(axis=1).tolist()) in drawn
    intervals = [t_interval(value_s, 0.9) for value_s in value_ks[1:]]  # no band at step 0: one policy
    corners = {(x, round(y, 9)) for x, y in axes.collections[0].get_paths()[0].vertices.tolist()}
    bounds = zip((10.0, 20.0, 40.0), intervals, strict=True)
    assert corners == {(step, round(y, 9)) for step, i in bounds for y in (i.low, i.high)}


def test_one_seed_has_no_band(make_rows, tmp_path):
    one = to_frame(make_rows(np.random.default_rng(0), seeds=[3], tasks=["sums"]))
    text = labels(draw_curves(one, tmp_path)[1])
    assert "sums: 1 seed, 200 items" in text
    assert not [label for label in text if "interval" in label]


def test_a_smoke_figure_says_so_and_must_be_asked_for(make_rows, tmp_path):
    smoke = to_frame(make_rows(np.random.default_rng(0), tasks=["sums"], kind="smoke"))
    with pytest.raises(UserError, match="kind 'real'"):
        draw_curves(smoke, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert "SMOKE sums: 5 seeds, 200 items" in labels(draw_curves(smoke, tmp_path, kind="smoke")[1])


def test_a_task_name_stays_inside_the_folder(make_rows, tmp_path):
    rows = make_rows(np.random.default_rng(0), tasks=["../a b"])
    paths = draw_curves(to_frame(rows), tmp_path / "out")
    assert {path.parent for path in paths} == {tmp_path / "out"}
    assert all(path.exists() for path in paths)


def test_twelve_arms_look_different_and_need_no_colour():
    styles = [plots._style(number) for number in range(12)]
    assert len({(style.line, style.marker) for style in styles}) == 12


def test_drawing_leaves_the_settings_of_matplotlib_alone(frame, tmp_path):
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # another test may have left something behind
        before = dict(matplotlib.rcParams)
        draw_curves(frame, tmp_path)
        assert dict(matplotlib.rcParams) == before
