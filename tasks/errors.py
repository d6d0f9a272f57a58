"""Errors that a person reads: value, rule, remedy, in that order."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable
from difflib import SequenceMatcher, get_close_matches
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

USAGE = 2
"""Exit code for a mistake in what the user asked for."""

INFRASTRUCTURE = 7
"""Exit code when a worker died, an engine crashed or memory ran out: trying again may help."""

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM (128 + SIGINT): the same command goes on from here."""


class UserError(ValueError):
    """Something the user can mend. The message is one line: the value, the rule, the remedy."""


class MissingSet(UserError):
    """A published problem set that is not on this machine. The message names the command that gets it."""


class InfrastructureError(RuntimeError):
    """The machine or a program failed us: an engine crashed, memory ran out. Nothing was measured wrongly."""


class Interrupted(Exception):
    """A person or a scheduler asked the program to stop; everything finished so far is on disk."""


class CommandLine(argparse.ArgumentParser):
    """An argument parser whose complaints are `UserError`s: one line, as for every other mistake."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UserError(f"{message}; see {self.prog} --help")


def closest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant, every one that is equally near, or list them all.

    >>> closest("lamda_grpo", ["grpo", "lambda_grpo"])
    "did you mean 'lambda_grpo'?"
    >>> closest("gpro", ["grpo", "gtpo", "lambda_grpo"])
    "did you mean 'grpo' or 'gtpo'?"
    >>> closest("ppo2", ["alpha", "beta"])
    'choose from alpha, beta'
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=3)
    if not near:
        return f"choose from {', '.join(names)}"
    likeness = [SequenceMatcher(None, known_name, name).ratio() for known_name in near]
    best = sorted(found for found, how in zip(near, likeness, strict=True) if how == max(likeness))
    return f"did you mean {' or '.join(map(repr, best))}?"


def run_cli(main: Callable[[], None]) -> int:
    """Call `main` and turn the errors meant for people into one line and an exit code."""
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal without λ shows its escape, and the run goes on
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()  # here, where a full disk can still be told
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except InfrastructureError as error:
        print(f"failed: {error}", file=sys.stderr)
        return INFRASTRUCTURE
    except (
        BrokenPipeError
    ):  # `| head` has read enough: what is left to flush goes nowhere, and it is not done
        _write_nowhere()
        return INTERRUPTED
    except OSError as error:  # of what is printed: every file of ours names itself (tasks.files.writing)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        _write_nowhere()
        where = error.filename or "the file that the output goes to"
        print(f"failed: {where}: not written, no room on its disk; make room and try again", file=sys.stderr)
        return INFRASTRUCTURE
    except (Interrupted, KeyboardInterrupt) as stop:
        print(f"stopped: {str(stop) or 'interrupted'}; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


def _write_nowhere() -> None:
    """Let what is still to be flushed go nowhere, or the interpreter would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def stop_on_sigterm() -> None:
    """Make SIGTERM raise `Interrupted`, so that a scheduler's stop is as clean as Ctrl-C."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(signum: int, frame: FrameType | None) -> None:
    del frame
    raise Interrupted(signal.Signals(signum).name)
