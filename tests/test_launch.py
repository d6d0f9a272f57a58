"""Commands side by side: every end is seen, and nothing that was started stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.jobs import launch
from benchmark.jobs.launch import Job, run_jobs
from benchmark.jobs.runs import looks_done
from tasks.errors import InfrastructureError, UserError

FOREVER = "import time; time.sleep(600)"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "POLL_S", 0.02)
    monkeypatch.setattr(launch, "GRACE_S", 10.0)


def job(tmp_path: Path, name: str, code: str) -> Job:
    """A command that first writes its process id, then does `code`."""
    mark = f"import os; open({str(tmp_path / f'{name}.pid')!r}, 'w').write(str(os.getpid()))\n"
    return Job(
        name=name, command=[sys.executable, "-S", "-c", mark + code], log=tmp_path / "logs" / f"{name}.log"
    )


def run(jobs: list[Job], workers: int = 4) -> None:
    run_jobs(jobs, workers, "test", lambda: 0, len(jobs))


def started(tmp_path: Path, name: str) -> bool:
    path = tmp_path / f"{name}.pid"
    return path.exists() and path.read_text() != ""


def alive(tmp_path: Path, name: str) -> bool:
    try:
        os.kill(int((tmp_path / f"{name}.pid").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def after(tmp_path: Path, name: str, code: str) -> str:
    """`code`, but not before the job `name` has written its process id."""
    return (
        f"import os, sys, time; path = {str(tmp_path / f'{name}.pid')!r}\n"
        "while not (os.path.exists(path) and os.path.getsize(path)): time.sleep(0.01)\n" + code
    )


def test_every_job_runs_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run([job(tmp_path, f"job {at}", f"print('text {at}')") for at in range(3)])
    assert [(tmp_path / "logs" / f"job {at}.log").read_text() for at in range(3)] == [
        f"text {at}\n" for at in range(3)
    ]
    assert sorted(capsys.readouterr().out.splitlines()) == [f"  test: job {at} done" for at in range(3)]


def test_no_jobs_are_done_at_once() -> None:
    run([])


def test_a_mistake_of_the_user_is_passed_on_in_the_words_of_the_job(tmp_path: Path) -> None:
    code = "import sys; print('loading'); print('error: seed=x: want a number', file=sys.stderr); sys.exit(2)"
    with pytest.raises(UserError) as caught:
        run([job(tmp_path, "one", code)])
    assert str(caught.value) == "seed=x: want a number"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys; print('dear'); print('cuda is gone'); sys.exit(1)", r"exit code 1 \(cuda is gone\)"),
        ("import sys; sys.exit(7)", r"exit code 7 \(no output\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"exit code -9 \(no output\)"),
        ("raise ValueError('torn')", r"exit code 1 \(ValueError: torn\)"),
    ],
)
def test_another_failure_names_the_log_and_stops_the_rest(tmp_path: Path, code: str, told: str) -> None:
    with pytest.raises(InfrastructureError, match=f"bad ended with {told}; see .*bad.log"):
        run([job(tmp_path, "long", FOREVER), job(tmp_path, "bad", after(tmp_path, "long", code))])
    assert not alive(tmp_path, "long")


def test_a_failure_keeps_waiting_jobs_from_starting(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError):
        run([job(tmp_path, "bad", "raise SystemExit(1)"), job(tmp_path, "next", "pass")], workers=1)
    assert not started(tmp_path, "next")


def test_the_last_failure_counts_too(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="last ended with exit code 3"):
        run([job(tmp_path, "first", "pass"), job(tmp_path, "last", "raise SystemExit(3)")], workers=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_than_workers_at_a_time(tmp_path: Path, workers: int) -> None:
    """Each job counts the marks of those that run beside it and leaves its count behind."""
    folder = tmp_path / "running"
    folder.mkdir()
    code = (
        f"import pathlib, time; folder = pathlib.Path({str(folder)!r})\n"
        "mark = folder / str(os.getpid()); mark.touch(); most = 0\n"
        "for _ in range(20): most = max(most, len(list(folder.iterdir()))); time.sleep(0.01)\n"
        "mark.unlink(); print(most)"
    )
    run([job(tmp_path, f"job{at}", code) for at in range(5)], workers)
    most = [int((tmp_path / "logs" / f"job{at}.log").read_text()) for at in range(5)]
    assert max(most) == workers


def test_progress_is_asked_for_while_jobs_run(tmp_path: Path) -> None:
    seen: list[bool] = []

    def done() -> int:
        seen.append(started(tmp_path, "one"))
        return len(seen)

    run_jobs([job(tmp_path, "one", "pass")], 1, "test", done, 1)
    assert seen[-1]


def test_ctrl_c_stops_every_child(tmp_path: Path) -> None:
    names = ["one", "two"]

    def interrupted() -> int:
        if all(started(tmp_path, name) for name in names):
            raise KeyboardInterrupt
        return 0

    with pytest.raises(KeyboardInterrupt):
        run_jobs([job(tmp_path, name, FOREVER) for name in [*names, "three"]], 2, "test", interrupted, 3)
    assert not any(alive(tmp_path, name) for name in names)
    assert not started(tmp_path, "three")


def test_children_may_finish_what_they_write(tmp_path: Path) -> None:
    """They get SIGTERM, not SIGKILL: the trainer marks its run as stopped."""
    polite = (
        "import signal, sys, time\n"
        "def stop(*_): print('stopped well', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    log = tmp_path / "logs" / "polite.log"
    waiting = f"while 'ready' not in open({str(log)!r}).read(): time.sleep(0.01)\nsys.exit(1)"
    with pytest.raises(InfrastructureError):
        run([job(tmp_path, "polite", polite), job(tmp_path, "bad", after(tmp_path, "polite", waiting))])
    assert log.read_text() == "ready\nstopped well\n"


def test_a_child_that_will_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "GRACE_S", 0.3)
    log = tmp_path / "logs" / "deaf.log"
    deaf = (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\n" + FOREVER
    )
    waiting = f"while 'ready' not in open({str(log)!r}).read(): time.sleep(0.01)\nsys.exit(1)"
    begun = time.monotonic()
    with pytest.raises(InfrastructureError):
        run([job(tmp_path, "deaf", deaf), job(tmp_path, "bad", after(tmp_path, "deaf", waiting))])
    assert not alive(tmp_path, "deaf")
    assert time.monotonic() - begun < 10


def test_a_command_that_does_not_exist_is_the_user_s_to_mend(tmp_path: Path) -> None:
    missing = Job(name="adapter", command=["no-such-trainer", "--now"], log=tmp_path / "log")
    with pytest.raises(UserError, match="adapter: command 'no-such-trainer' is not there"):
        run([job(tmp_path, "long", FOREVER), missing])
    if started(tmp_path, "long"):
        assert not alive(tmp_path, "long")


def test_only_this_attempt_s_words_are_passed_on(tmp_path: Path) -> None:
    """Logs are kept over attempts; a job that dies without a word must not speak with the last one's."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "one.log").write_text("error: seed=x: want a number\n")
    with pytest.raises(InfrastructureError, match="no output"):
        run([job(tmp_path, "one", "raise SystemExit(1)")])


SUPERVISOR = """
import signal
import sys
from pathlib import Path
from benchmark.jobs.launch import Job, run_jobs
from benchmark.jobs.runs import looks_done
from tasks.errors import run_cli, stop_on_sigterm

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a shell's background ignores Ctrl-C
stop_on_sigterm()
code = "import os, time; open({pid!r}, 'w').write(str(os.getpid())); time.sleep(600)"
jobs = [Job(name="one", command=[sys.executable, "-S", "-c", code], log=Path({log!r}))]
sys.exit(run_cli(lambda: run_jobs(jobs, 1, "test", lambda: 0, 1)))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_program_leaves_no_child(tmp_path: Path, number: signal.Signals) -> None:
    code = SUPERVISOR.format(pid=str(tmp_path / "one.pid"), log=str(tmp_path / "log"))
    program = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not started(tmp_path, "one") and time.monotonic() < deadline:
        time.sleep(0.02)
    program.send_signal(number)
    _, told = program.communicate(timeout=30)
    assert program.returncode == 130
    assert told.startswith("stopped: ")
    assert told.endswith("; the same command goes on from here\n")
    assert told.count("\n") == 1
    assert not alive(tmp_path, "one")


def test_a_manifest_that_is_being_written_is_not_done(tmp_path: Path) -> None:
    """The progress bar looks at run folders that foreign trainers may write without care."""
    (tmp_path / "checkpoints/step_000000").mkdir(parents=True)
    assert not looks_done(tmp_path)
    for text, done in (('{"sta', False), ('{"state": "running"}', False), ('{"state": "done"}', True)):
        (tmp_path / "manifest.json").write_text(text)
        assert looks_done(tmp_path) is done


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_a_child_starts_waits_until_it_is_noted(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    held = signal.signal(number, interrupted)
    start, noted = launch._start, []

    def start_and_be_hit(one: Job) -> object:
        running = start(one)
        signal.raise_signal(number)
        noted.append(running)
        return running

    monkeypatch.setattr(launch, "_start", start_and_be_hit)
    try:
        with pytest.raises(KeyboardInterrupt):
            run([job(tmp_path, "one", "import time; time.sleep(600)")])
    finally:
        signal.signal(number, held)
    assert noted[0].process.poll() is not None
