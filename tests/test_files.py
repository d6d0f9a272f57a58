"""Files and folders appear whole and durable, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from tasks.errors import InfrastructureError
from tasks.files import append_line, new_file, new_folder, sweep, write_text, writing


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that every flush and rename is written to, in order, by file name."""
    seen: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        seen.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def record_replace(source: Path, target: Path) -> None:
        seen.append(f"replace {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    return seen


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names open files through /proc")
def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_caller(
    calls: list[str], tmp_path: Path
) -> None:
    write_text(tmp_path / "a.json", "{}")
    assert calls == [f"fsync .a.json.{os.getpid()}.tmp", "replace a.json", f"fsync {tmp_path.name}"]
    calls.clear()
    with new_folder(tmp_path / "step") as folder:
        (folder / "inner").mkdir()
        (folder / "inner/weights").write_text("1")
        (folder / "config").write_text("2")
    temporary = f"fsync .step.{os.getpid()}.tmp"
    flushed = ["fsync config", "fsync inner", "fsync weights", temporary]
    assert calls == [*flushed, "replace step", f"fsync {tmp_path.name}"]
    calls.clear()
    append_line(tmp_path / "log", "one")
    assert calls == ["fsync log"]


def test_a_folder_gives_way_to_a_whole_one(tmp_path: Path) -> None:
    for number in ("1", "2"):
        with new_folder(tmp_path / "step") as folder:
            (folder / number).write_text(number)
    assert [path.name for path in (tmp_path / "step").iterdir()] == ["2"]
    assert [path.name for path in tmp_path.iterdir()] == ["step"]


def test_under_its_name_a_folder_is_never_half_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmtree = shutil.rmtree
    deleted: list[Path] = []

    def record(path: Path, **options: bool) -> None:
        deleted.append(Path(path))
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", record)
    for _ in range(2):
        with new_folder(tmp_path / "step") as folder:
            (folder / "weights").write_text("1")
    assert deleted
    assert tmp_path / "step" not in deleted


def fail_after_writing(path: Path) -> None:
    path.write_text("new")
    path.open("x")


def test_what_fails_leaves_the_old_version_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with new_folder(tmp_path / "folder") as folder:
        (folder / "old").write_text("old")
    with pytest.raises(FileExistsError), new_file(tmp_path / "file") as file:
        fail_after_writing(file)
    with pytest.raises(FileExistsError), new_folder(tmp_path / "folder") as folder:
        fail_after_writing(folder / "new")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        Exception("No space left on device (os error 28)"),
    ],
)
def test_no_room_is_one_line(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(InfrastructureError) as caught, writing(tmp_path / "file"):
        raise error
    assert str(caught.value).startswith(f"{tmp_path / 'file'}: not written, ")
    assert str(caught.value).endswith("make room and give the same command again, what was finished is kept")


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "Permission denied"), ValueError("28"), KeyError(28)]
)
def test_other_errors_pass_as_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, writing(tmp_path / "file"):
        raise error
    assert caught.value is error


def test_sweep_takes_temporary_names_alone(tmp_path: Path) -> None:
    (tmp_path / ".step.99.tmp/inner").mkdir(parents=True)
    (tmp_path / ".file.99.tmp").write_text("")
    kept = [tmp_path / name for name in (".lock", "a.tmp", "step")]
    for path in kept:
        path.write_text("")
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    sweep(tmp_path / "missing")
