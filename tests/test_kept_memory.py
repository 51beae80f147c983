"""Large memory that was freed is used again without the system's help."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
import numpy as np
from models.kept_memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
pages = []
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(48 * 2**20, np.uint8).fill(1)
    pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(pages[1:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_second_large_array_takes_no_new_pages() -> None:
    kept, left = (
        int(subprocess.run([sys.executable, "-c", _PROGRAM, how], check=True, capture_output=True, text=True).stdout)
        for how in ("kept", "as it is")
    )
    if not left:
        pytest.skip("this system does not count pages")
    assert kept < left / 4
