"""Rows survive the disk, and nothing broken gets in."""

from __future__ import annotations

import json

import pytest

from benchmark.rows import TAIL, append_rows, is_torn, latest_rows, read_rows, to_frame
from tasks.errors import UserError


def test_rows_come_back_as_they_were_written(tmp_path, make_row):
    path = tmp_path / "new" / "rows.jsonl"
    rows = [make_row(step=step, seed=step, value=None if step == 3 else 0.1 * step) for step in (1, 2, 3)]
    append_rows(path, rows[:1])
    append_rows(path, rows[1:])
    assert read_rows(path) == rows


def test_a_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="benchmark run"):
        read_rows(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("{}", "kind"),
        ("not json", "line"),
        ("", "line"),
        ('{"kind": "fake"}', "kind"),
    ],
)
def test_a_malformed_row_names_file_line_and_field(tmp_path, make_row, line, where):
    path = tmp_path / "rows.jsonl"
    append_rows(path, [make_row()])
    with path.open("a") as file:
        file.write(line + "\n")
    append_rows(path, [make_row()])
    with pytest.raises(UserError, match=rf"rows\.jsonl:2: not a result row \({where}: "):
        read_rows(path)


def test_an_unknown_field_is_refused(tmp_path, make_row):
    path = tmp_path / "rows.jsonl"
    text = make_row().model_dump_json()
    path.write_text(text[:-1] + ', "accuracy": 0.5}\n')
    with pytest.raises(UserError, match="accuracy"):
        read_rows(path)


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_torn_last_line_is_left_out_and_the_next_append_heals_it(tmp_path, make_row, kept):
    path = tmp_path / "rows.jsonl"
    first, second, third = (make_row(step=step) for step in (1, 2, 3))
    append_rows(path, [first])
    whole = path.read_bytes()
    append_rows(path, [second])
    torn = path.read_bytes()[len(whole) :][:kept]
    path.write_bytes(whole + torn)
    assert is_torn(path)
    assert read_rows(path) == [first]
    append_rows(path, [third])
    assert read_rows(path) == [first, third]
    assert not is_torn(path)


def test_an_empty_file_is_not_torn(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.touch()
    assert not is_torn(path)


def test_the_later_row_replaces_the_earlier(make_row):
    frame = to_frame([make_row(value=0.1), make_row(seed=1, value=0.2), make_row(value=0.3)])
    assert dict(zip(frame["seed"], frame["value"], strict=True)) == {0: 0.3, 1: 0.2}


def test_metrics_of_another_number_of_samples_fall_away(make_row):
    def measured(samples, *metrics):
        return [make_row(metric=name, n_samples=samples) for name in metrics]

    eight = measured(8, "accuracy", "pass@4", "pass@8")
    four = measured(4, "accuracy", "pass@4")
    elsewhere = [make_row(step=30, metric="pass@8", n_samples=8)]
    assert latest_rows(eight + elsewhere + four) == [*four, *elsewhere]
    assert latest_rows(eight + four + eight[:2]) == eight


def test_a_smoke_row_never_replaces_a_real_one(make_row):
    frame = to_frame([make_row(value=0.1), make_row(value=0.9, kind="smoke")])
    assert sorted(zip(frame["kind"], frame["value"], strict=True)) == [("real", 0.1), ("smoke", 0.9)]


def test_seeds_stay_integers_beside_the_untrained_policy(make_row):
    frame = to_frame([make_row(arm="base", seed=None, step=0, value=None), make_row(seed=3)])
    assert str(frame["seed"].dtype) == "Int64"
    assert frame["seed"].isna().tolist() == [True, False]
    assert frame["value"].isna().tolist() == [True, False]


def test_no_rows_make_an_empty_frame_with_every_column(make_row):
    frame = to_frame([])
    assert list(frame.columns) == list(make_row().model_dump())
    assert frame.empty


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused_on_both_sides(tmp_path, make_row, number):
    path = tmp_path / "rows.jsonl"
    append_rows(path, [make_row()])
    with path.open("a") as file:
        file.write(make_row().model_dump_json().replace('"value":0.5', f'"value":{number}') + "\n")
    with pytest.raises(UserError, match=r"rows\.jsonl:2: not a result row \(value: .*finite"):
        read_rows(path)
    with pytest.raises(ValueError, match="finite number"):
        make_row(value=float(number))


def test_a_row_of_another_schema_says_where_it_came_from(tmp_path, make_row):
    path = tmp_path / "rows.jsonl"
    path.write_text(make_row().model_dump_json().replace('"schema_version":1', '"schema_version":2') + "\n")
    with pytest.raises(UserError, match=r"rows\.jsonl:1: .*another version of this project: use that one"):
        read_rows(path)


def test_rows_from_before_a_column_still_read(tmp_path, make_row):
    path = tmp_path / "rows.jsonl"
    new = json.loads(make_row().model_dump_json())
    later = ("weights_note", "endpoints", "missing", "n_loose", "n_asked", "train_device")
    old = {name: new[name] for name in new if name not in later}
    path.write_text("".join(json.dumps(one) + "\n" for one in (old, new)))
    assert read_rows(path) == [make_row(), make_row()]
    (row,) = to_frame(read_rows(path)).to_dict("records")
    assert (row["n_asked"], row["train_device"]) == (row["n_items"], "")
    (row,) = to_frame([make_row(n_items=99, n_asked=100)]).to_dict("records")
    assert (row["n_items"], row["n_asked"]) == (99, 100)


def test_a_torn_line_longer_than_what_is_read_at_a_time(tmp_path, make_row):
    path = tmp_path / "rows.jsonl"
    append_rows(path, [make_row()])
    with path.open("ab") as file:
        file.write(b"x" * (3 * TAIL))
    append_rows(path, [make_row(step=20)])
    assert read_rows(path) == [make_row(), make_row(step=20)]
    path.write_bytes(b"x" * (2 * TAIL))
    append_rows(path, [make_row()])
    assert read_rows(path) == [make_row()]
