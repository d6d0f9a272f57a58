"""`python -m tasks`: what each command prints, and with which exit code it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tasks import __main__ as command
from tasks.catalog import datasets, expand_tasks, groups, scored_split, task_names, task_version
from tasks.errors import UserError, run_cli


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs a command line: exit code, output, errors."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tasks", *words])
        try:
            code = run_cli(command.main)
        except SystemExit as stop:
            code = int(stop.code or 0)
        out = capsys.readouterr()
        assert out.err.count("\n") <= 1, out.err
        return code, out.out, out.err

    return run


def row(table: str, name: str) -> str:
    return next(line for line in table.splitlines() if line.split()[:1] == [name])


def test_groups_name_tasks_that_are_there_and_hide_none() -> None:
    known = task_names()
    for name, members in groups().items():
        assert set(members) <= set(known)
        assert len(set(members)) == len(members)
        assert name not in known
    assert expand_tasks(["paper"]) == ["aime24", "math500", "amc23", "minerva_math", "olympiadbench"]
    assert expand_tasks(["reasoning"]) == ["gpqa_diamond", "bbh", "musr"]
    assert set(expand_tasks(["paper"])) < set(expand_tasks(["math"]))
    assert expand_tasks(["add2", "aime24", "paper", "add2"])[:3] == ["add2", "aime24", "math500"]
    assert expand_tasks([]) == []
    with pytest.raises(UserError, match=r"unknown task or group 'papers'; did you mean 'paper'\?"):
        expand_tasks(["papers"])
    with pytest.raises(UserError, match=r"'aime26'; did you mean 'aime24' or 'aime25'\?"):
        expand_tasks(["aime26"])


def test_the_split_that_is_scored() -> None:
    assert [scored_split(name) for name in ("add2", "aime24", "openrs")] == ["test", "test", "validation"]


def test_decoding_follows_the_size_of_the_set() -> None:
    for one in datasets().values():
        if one.split_names == ("test",):
            assert (one.temperature, one.top_p, one.chat) == (0.6, 0.95, True)
            assert one.system == datasets()["openrs"].system
            many = 32 if one.items <= 40 else 4 if one.items <= 700 else 2 if one.items <= 1000 else 1
            assert one.samples == many


def test_list_says_what_this_machine_has(call, data: Path, published: ModuleType) -> None:
    published.fetch_fixture("aime24")
    published.fetch_fixture("musr")
    with (data / "musr.jsonl").open("a") as file:
        file.write("\n")
    code, table, _ = call("list")
    assert code == 0
    head, _, rest = table.partition("\n\n")
    assert {line.split()[0] for line in head.splitlines()[2:]} == set(task_names())
    assert row(rest, "paper").split()[1:] == expand_tasks(["paper"])
    assert row(table, "add2").endswith("frozen")
    assert "fetched 3 of 30 items, " in row(table, "aime24")
    assert row(table, "aime25").endswith("missing: python -m tasks fetch aime25")
    assert "damaged: " in row(table, "musr")
    assert "not what was fetched" in row(table, "musr")
    assert row(table, "aime24").split()[1:3] == [task_version("aime24"), "test"]
    assert len(call("list", "paper")[1].splitlines()) == 2 + 5


def test_a_version_is_no_number(call, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "task_version", lambda name: "1.10")
    assert row(call("list", "sums1")[1], "sums1").split()[1] == "1.10"


def test_fetch_takes_groups_and_a_set_that_fails_keeps_none_away(
    call, data: Path, published: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = {datasets()[name].hub: published.mirror(name, tmp_path / name) for name in ("bbh", "musr")}

    def download(repo: str, **_: object) -> str:
        if repo not in copies:
            raise ConnectionError("no route")
        return str(copies[repo])

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    for name in ("bbh", "musr"):
        one = datasets()[name].model_copy(update={"items": published.ITEMS[name]})
        monkeypatch.setitem(datasets(), name, one)
    code, out, err = call("fetch", "reasoning")
    assert code == 2
    assert [line.partition(":")[0] for line in out.splitlines()] == ["bbh", "musr"]
    assert err.startswith("error: Idavidrein/gpqa@")
    assert sorted(path.name for path in data.iterdir()) == [
        "bbh.json",
        "bbh.jsonl",
        "musr.json",
        "musr.jsonl",
    ]
    code, _, err = call("fetch", "add2")
    assert (code, "no published set 'add2'" in err) == (2, True)


def test_fetch_takes_a_mirror_of_the_hub(
    call, data: Path, published: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bbh", "musr"):
        published.mirror(name, tmp_path / "hub" / datasets()[name].hub)
        one = datasets()[name].model_copy(update={"items": published.ITEMS[name]})
        monkeypatch.setitem(datasets(), name, one)
    code, out, err = call("fetch", "reasoning", "--from", str(tmp_path / "hub"))
    assert code == 2
    assert [line.partition(":")[0] for line in out.splitlines()] == ["bbh", "musr"]
    assert err.startswith(f"error: {tmp_path}/hub/Idavidrein/gpqa: no such folder; for several sets")
    assert call("fetch", "musr", "--from", str(tmp_path / "hub"))[0] == 0
    assert call("fetch", "musr", "--from", str(tmp_path / "hub" / datasets()["musr"].hub))[0] == 0


def test_fetch_from_a_file_with_bad_golds(call, data: Path, tmp_path: Path) -> None:
    rows = [{"problem": f"{at}?", "answer": str(at), "id": str(at)} for at in range(30)]
    rows[3]["answer"] = "\\frac{1}{"
    source = tmp_path / "own.jsonl"
    source.write_text("".join(json.dumps(one) + "\n" for one in rows))
    code, out, err = call("fetch", "aime25", "--from", str(source))
    assert (code, out) == (2, "")
    assert f"{source}:4: " in err
    code, out, _ = call("fetch", "aime25", "--from", str(source), "--allow-bad-gold")
    assert code == 0
    assert out.startswith("aime25: fetched 30 items, 1 with an unreadable reference answer, ")


def test_verify_checks_what_is_here_and_names_what_is_wrong(call, data: Path, published: ModuleType) -> None:
    published.fetch_fixture("aime24")
    code, out, _ = call("verify", "sums1", "aime24")
    assert code == 0
    assert out.splitlines()[0] == "sums1: train 80 validation 40 test 80: as frozen"
    assert out.splitlines()[1].startswith("aime24: fetched 3 of 30 items, ")
    code, _, err = call("verify", "aime24", "aime25")
    assert code == 2
    assert "aime25.json: the set 'aime25' is not on this machine; run `python -m tasks fetch aime25`" in err
    (data / "aime24.jsonl").write_text("")
    code, out, err = call("verify", "sums1", "aime24")
    assert code == 2
    assert out.startswith("sums1: ")
    assert "aime24.jsonl: its content is not what was fetched" in err


def test_verify_of_everything_passes_over_what_is_not_here(
    call, data: Path, published: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.fetch_fixture("aime24")
    monkeypatch.setattr(command, "task_names", lambda: ["sums1", *datasets()])
    code, out, _ = call("verify")
    assert code == 0
    assert "aime24: fetched 3 of 30" in out
    assert "aime25: not on this machine" in out


def test_show_prints_an_item_as_it_is_asked(call, data: Path, published: ModuleType) -> None:
    published.fetch_fixture("musr")
    code, out, _ = call("show", "musr", "--item", "2")
    assert code == 0
    assert out.splitlines()[:2] == ["[id]", "musr/object_placements/00001"]
    assert "[cluster]\nmusr/" in out
    assert (
        "[system]\nThink step by step, and put your final answer within \\boxed{}.\n[user]\nVera kept" in out
    )
    assert out.endswith("C) Tom's pocket\n\nAnswer with the letter of the right choice.\n[gold]\nB\n")
    code, out, _ = call("show", "add2", "--item", "0", "--split", "train")
    assert out.startswith("[id]\nadd2/train/0000\n[prompt]\n")
    assert call("show", "musr")[1].count("[id]") == 4
    assert call("show", "add2")[1].count("[id]") == 5
    code, _, err = call("show", "musr", "--item", "4")
    assert (code, "--item 4: musr has 4 items in test, 0 to 3" in err) == (2, True)
    code, _, err = call("show", "aime24", "--item", "0")
    assert (code, "run `python -m tasks fetch aime24`" in err) == (2, True)


def test_overlap_ends_with_one_above_the_threshold(
    call, data: Path, published: ModuleType, tmp_path: Path
) -> None:
    published.fetch_fixture("aime24")
    published.fetch_fixture("gsm8k")
    published.fetch_fixture("gsm8k_platinum")
    code, out, _ = call("overlap", "add2", "aime24", "gsm8k")
    assert code == 0
    assert out.splitlines()[0] == (
        "aime24: 0 of 3 items share 13 words in a row with add2 (0.0%, at most 0.0% allowed)"
    )
    code, _, err = call("overlap", "gsm8k", "gsm8k_platinum")
    assert (code, "'gsm8k' has no train split" in err) == (2, True)
    code, out, _ = call("overlap", "sums1", "sums1", "--n", "4")
    assert code == 1
    assert "sums1/test/" in out
    assert "50 of 80 items share 4 words in a row with sums1 (62.5%, at most 0.0% allowed)" in out
    assert call("overlap", "sums1", "sums1", "--n", "4", "--threshold", "1")[0] == 0
    assert call("overlap", "sums1", "sums1", "--n", "0")[0] == 2
    assert call("overlap", "sums1", "sums1", "--threshold", "1.5")[0] == 2
    assert call("overlap", "openrs", "aime24")[0] == 2
