"""What the benchmark ran on: the machine, and every version that matters."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = (
    "av",
    "numpy",
    "opencv-python",
    "torch",
    "torchcodec",
    "decord2",
    "transformers",
    "onnxruntime",
    "ray",
)


def machine() -> dict[str, Any]:
    """Processor, cores, memory, kernel and load."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")), platform.machine())
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "load_average": os.getloadavg(),
    }


def versions() -> dict[str, str]:
    """Python, the readers' packages as far as they are installed, libavcodec inside PyAV, and the ffmpeg command."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    import av

    found["libavcodec in av"] = ".".join(map(str, av.library_versions["libavcodec"]))
    if shutil.which("ffmpeg"):
        said = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=False).stdout
        found["ffmpeg command"] = said.split()[2] if len(said.split()) > 2 else "?"
    return found
