"""The GPUs of this machine, by the names that CUDA_VISIBLE_DEVICES takes."""

from __future__ import annotations

import os
import shutil
import subprocess


def devices() -> list[str]:
    """Return the GPUs that this process may use; none is a machine whose CPU does the work.

    `CUDA_VISIBLE_DEVICES` is taken at its word where it is set; otherwise the driver's own tool is asked,
    which costs no import of torch and no memory on a device.
    """
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        return []
    return [str(at) for at, line in enumerate(filter(_is_gpu, listed.stdout.splitlines())) if line]


def _is_gpu(line: str) -> bool:
    return line.startswith("GPU ")


def engines(jobs: int, places: list[str]) -> int:
    """Return how many engines run side by side: one per device, or as many as there are jobs on a CPU."""
    return min(jobs, len(places)) if places else jobs
