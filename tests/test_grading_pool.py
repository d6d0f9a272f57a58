"""The grader's limits: what is too large, what takes too long, workers that die, answers like code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from tasks.engines import Finish
from tasks.errors import InfrastructureError
from tasks.grading import Asked, check_error_rate, count_errors, grade, grade_all, pool
from tasks.grading.caps import too_large
from tasks.schema import Grade, Status

ROOT = Path(__file__).parent.parent
ENDLESS = ("9^{9^{9^{9}}}", "5")
"""What the caps keep from the workers, and what busies one until it is ended."""
QUICK = ("\\sqrt{8}", "2\\sqrt{2}")
CORRECT = (Status.CORRECT, "")


@pytest.fixture
def fresh_pool() -> Iterator[None]:
    """Let a test start its own workers, and leave none of them to the next."""
    pool.close()
    yield
    pool.close()


def workers() -> list[psutil.Process]:
    """The grandchildren: their parent is the server that they are forked from."""
    return [one for one in psutil.Process().children(recursive=True) if one.ppid() != os.getpid()]


def busiest() -> psutil.Process:
    return max(workers(), key=lambda one: one.cpu_times().user)


TOO_LARGE = [
    ("x" * 401, "longer than"),
    ("x\x00y", "control characters"),
    ("(1, 2", "do not match"),
    ("\\frac{1}{2", "do not match"),
    ("{1)", "do not match"),
    ("((" * 6 + "(x" + ")" * 13, "deeper"),
    ("\\sqrt{" * 13 + "x" + "}" * 13, "deeper"),
    ("2+" + "1" * 101, "digits"),
    (",".join("ab" * 13), "elements"),
    ("&".join("ab" * 13), "elements"),
    ("+".join("ab" * 41), "operators"),
    ("2^{1+9999999999}", "may be above"),
    ("10^{100\\cdot 1000000}", "may be above"),
    ("(99(9999))!", "may be above"),
    ("(9999!)^{9999}", "power of a power"),
    ("9^{9^{9^{x-x}}}", "tower"),
    ("\\int_0^1 x dx", "undone"),
    ("\\sum_{i=1}^{9} i", "undone"),
    ("\\lim_{x\\to 0} x", "undone"),
    ("\\binom{9}{3}", "undone"),
    ("2^{10001}", "a power"),
    ("2^{-99999999999}", "a power"),
    ("10001!", "factorial above"),
    ("(10^{7})!", "a tower"),
    ("{10}^{10^{10}}", "a tower"),
    ("9^{9^{9}}", "a tower"),
    ("9^{9}^{9}", "a tower"),
    ("x+9^{(9^{9})}", "a tower"),
    ("2^{9!}", "a tower"),
    ("(9!)!", "a tower"),
    ("9!!", "a tower"),
    ("(2^{999})^{999}", "a power of a power"),
    ("((2^{99})^{99})^{99}", "a power of a power"),
    ("(x+1)^{31}", "powers of sums"),
    ("(1+i)^{16}(1-i)^{15}", "powers of sums"),
    ("((x-1)y)^{31}", "powers of sums"),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}^{9}", "undone"),
]


@pytest.mark.parametrize(("answer", "reason"), TOO_LARGE)
def test_what_is_too_large_is_wrong_at_once(
    answer: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "judge_all", None)
    found = too_large(answer)
    assert found is not None
    assert reason in found
    verdict = grade(f"\\boxed{{{answer}}}", "5", Finish.STOP)
    if verdict.found == "box":  # a brace that never closes makes no box
        assert verdict.status is Status.WRONG
        assert verdict.detail


@pytest.mark.parametrize(
    "answer",
    [
        "(((((((((((1+x)))))))))))",
        "\\frac{-b\\pm\\sqrt{b^{2}-4ac}}{2a}",
        "2^{2024}-1",
        "(2^{3})^{4}",
        "(x+1)^{20}(x-1)^{10}",
        "(\\frac{2}{3})^{100}",
        "x^{-99}",
        "2^{2^{n}}",
        "x^{2}+x^{3}",
        "e^{x^{2}}",
        "(n+1)!",
        "\\frac{2024!}{2^{1012}\\cdot 1012!}",
        "[0,1)",
        "\\{(1,2),(3,4)\\}",
        "\\left\\{x\\right\\}",
        "]",
    ],
)
def test_what_people_write_is_not_too_large(answer: str) -> None:
    assert (too_large(answer) is None) is (answer != "]")


def test_a_reference_may_hold_the_sum_that_an_answer_may_not() -> None:
    assert too_large("\\sum_{i} i", beside="2\\sum_{i} i") is None
    assert too_large("\\int x", beside="2\\sum_{i} i") is not None


def test_what_takes_too_long_is_an_error_and_its_worker_is_replaced(
    fresh_pool: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.judge_all([QUICK])
    monkeypatch.setattr(pool, "DEADLINE_S", 0.5)
    started = time.perf_counter()
    verdicts = pool.judge_all([ENDLESS, QUICK, ENDLESS, QUICK] * 2)
    took = time.perf_counter() - started
    assert [status for status, _ in verdicts] == [Status.ERROR, Status.CORRECT] * 4
    assert verdicts[0][1] == "no verdict within 0.5 s"
    assert took < 5  # four deadlines, on one worker even; those that waited lost none of theirs
    assert pool.judge_all([QUICK]) == [CORRECT]


def test_a_worker_that_dies_takes_one_comparison_with_it(fresh_pool: None) -> None:
    pool.judge_all([QUICK])
    verdicts: list[Any] = []
    asking = Thread(target=lambda: verdicts.extend(pool.judge_all([QUICK, ENDLESS, QUICK])))
    asking.start()
    time.sleep(0.5)
    busiest().kill()
    asking.join(timeout=20)
    assert verdicts == [CORRECT, (Status.ERROR, "the worker died with exit code -9"), CORRECT]


def test_workers_that_are_killed_while_idle_are_replaced(fresh_pool: None) -> None:
    for _ in range(2):
        assert pool.judge_all([QUICK]) == [CORRECT]
        for worker in workers():
            worker.kill()
        time.sleep(0.3)
    assert pool.judge_all([QUICK]) == [CORRECT]


def test_memory_is_capped(fresh_pool: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MEMORY_MB", 100)
    assert pool.running().schedule(exec, ("bytearray(50 * 2**20)",)).result() is None
    with pytest.raises(MemoryError):
        pool.running().schedule(exec, ("bytearray(200 * 2**20)",)).result()
    assert pool.judge_all([QUICK]) == [CORRECT]


def test_workers_that_cannot_start_end_the_run(fresh_pool: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool.worker, "start", os._exit)
    monkeypatch.setattr(pool, "MEMORY_MB", 3)  # their exit code
    with pytest.raises(InfrastructureError, match="die as soon as they start"):
        pool.judge_all([QUICK])


def test_plain_answers_start_no_worker(fresh_pool: None) -> None:
    texts = ["12", "\\boxed{\\frac{1}{2}}", "\\boxed{3,000}", "\\boxed{x}", "x"]
    grade_all([Asked(text, "12", Finish.STOP) for text in texts])
    assert workers() == []


def test_a_forked_process_has_workers_of_its_own(fresh_pool: None) -> None:
    assert pool.judge_all([QUICK]) == [CORRECT]
    child = os.fork()
    if child == 0:
        os._exit(pool.judge_all([QUICK]) != [CORRECT])
    assert os.waitpid(child, 0)[1] == 0


def run_script(tmp_path: Path, code: str) -> Any:
    """Run a file of its own, with threads of torch; return the JSON it prints."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(code))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, check=True, env=environment, timeout=120
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_workers_of_a_program_with_torch_have_none(tmp_path: Path) -> None:
    """The program's main module imports torch, and a worker does not run it again."""
    found = run_script(
        tmp_path,
        """
        import json, os, sys, time
        import psutil, torch
        from tasks.grading import pool

        torch.ones(500, 500) @ torch.ones(500, 500)  # starts its threads
        started = time.perf_counter()
        verdicts = pool.judge_all([("\\\\sqrt{8}", "2\\\\sqrt{2}")])
        took = time.perf_counter() - started
        workers = [p for p in psutil.Process().children(recursive=True) if p.ppid() != os.getpid()]
        loaded = [[m.path for m in p.memory_maps() if "torch" in m.path] for p in workers]
        print(json.dumps({"verdicts": verdicts, "took": took, "loaded": loaded}))
        """,
    )
    assert found["verdicts"] == [["correct", ""]]
    assert found["loaded"]
    assert all(paths == [] for paths in found["loaded"])
    assert found["took"] < 10  # 1 s on a quiet machine


LIKE_CODE = [
    "__import__('os').system('touch x')",
    "__import__(os).system(touch)",
    "eval(1+1)",
    "open(1)",
    "lambda: 0",
    "exit()",
    "x.__class__",
    "[a for a in b]",
    "1;import os",
    "\\text{__import__('os')}",
    "Integer(7)",
    "12+os",
    "7e5",
    "0x10",
    "1_000",
    "\\operatorname{eval}(2)",
    "\\input{/etc/passwd}",
    "\\write18{touch x}",
    "x^2+12.5-\\frac{3}{4}",
    "(x+1)(x+2)",
]


def test_no_answer_is_evaluated_as_code(tmp_path: Path) -> None:
    """What a worker does to an answer compiles nothing of it, opens nothing and starts nothing."""
    events = run_script(
        tmp_path,
        f"""
        import json, sys
        from tasks.grading import worker

        worker.prepare()
        events, watching = [], True
        WATCHED = ("compile", "exec", "os.", "subprocess.", "open", "socket.", "shutil.", "ctypes.")

        def hook(event, args):
            if watching and event.startswith(WATCHED):
                events.append([event, str(args[0])])

        sys.addaudithook(hook)
        for answer in {LIKE_CODE!r}:
            worker.judge(answer, "x^2+3x+2", 5)
            worker.judge("x^2+3x+2", answer, 5)
        watching = False
        print(json.dumps(events))
        """,
    )
    assert not (ROOT / "x").exists()
    # sympy makes functions for monomials of so many unknowns, and loads modules of its own when first needed
    own = ("b'def monomial_", "<code object <module> at")
    compiled = [what for event, what in events if event in ("compile", "exec")]
    assert [what for what in compiled if not what.startswith(own)] == []
    others = {what for event, what in events if event not in ("compile", "exec")}
    assert all("/sympy/" in what or "/site-packages" in what for what in others), others


ERROR = Grade(status=Status.ERROR, answer="\\sqrt{x}", detail="no verdict")
FINE = Grade(status=Status.WRONG, answer="1")


@pytest.mark.parametrize(
    ("errors", "graded", "errors_before", "graded_before", "refused"),
    [
        (0, 10, 0, 0, False),
        (1, 10, 0, 0, False),
        (2, 2, 0, 0, False),
        (3, 10, 0, 0, True),
        (3, 600, 0, 0, False),  # 0.5 %
        (3, 599, 0, 0, True),
        (1, 10, 2, 100, True),
        (1, 10, 2, 590, False),
        (0, 10, 4, 600, True),
    ],
)
def test_more_than_half_a_percent_errors_end_a_run(
    errors: int, graded: int, errors_before: int, graded_before: int, refused: bool
) -> None:
    grades = [ERROR] * errors + [FINE] * (graded - errors)
    assert count_errors(grades) == errors
    if not refused:
        check_error_rate(grades, errors_before, graded_before)
        return
    with pytest.raises(
        InfrastructureError, match=f"{errors + errors_before} of {graded + graded_before} answers"
    ):
        check_error_rate(grades, errors_before, graded_before)


def test_the_complaint_shows_what_failed() -> None:
    with pytest.raises(InfrastructureError, match=r"more than 0.5% .*sqrt.*no verdict"):
        check_error_rate([ERROR] * 3)


@pytest.mark.parametrize("wait_s", [0.05, 0.3])
def test_ctrl_c_while_workers_start_prints_nothing_of_theirs(wait_s: float) -> None:
    """A terminal sends it to every process of the group, also to one that is still importing."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tasks.errors import run_cli; from tasks.grading import pool\n"
        "def main():\n"
        "    print('ready', flush=True)\n"
        "    pool.judge_all([('x+1', '1+x')] * 50)\n"
        "sys.exit(run_cli(main))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "stopped: interrupted; the same command goes on from here\n")
