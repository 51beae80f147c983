"""Run a command that ends when the process that started it dies, however it dies: `python -m … PARENT_PID COMMAND…`.

Linux only (the kernel sends SIGTERM); elsewhere the command runs without that guard. Knows nothing of Prefect.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> None:
    """Ask for SIGTERM at the parent's death, then become the command. The setting survives exec."""
    parent_pid, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent_pid:  # it died before we asked
            raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
