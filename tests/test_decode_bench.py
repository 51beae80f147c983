"""The benchmark can be trusted: wrong frames are called wrong, crashes don't end it, children's memory counts."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.benchmarks.decode_rounds import Cell, Run, run_once
from tests.benchmarks.decode_sampling import judged
from tests.benchmarks.process_memory import PeakMemory
from tests.video_files import make_no_video, make_video

WANTED = range(0, 60, 6)
HOLD = "import sys; held = bytearray(b'1') * 80_000_000; sys.stdin.read()"
ALLOCATE = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"


@pytest.fixture
def reference() -> NDArray[np.uint8]:
    """Signatures of sixty frames that are all different."""
    return np.random.default_rng(0).integers(0, 250, (60, 400), np.uint8)


def test_the_frames_wanted_are_right(reference: NDArray[np.uint8]) -> None:
    verdict = judged(reference[::6], WANTED, reference)
    assert verdict.right
    assert verdict.identical == 1.0


def test_a_little_other_colours_are_right_and_not_identical(reference: NDArray[np.uint8]) -> None:
    verdict = judged(reference[::6] + 2, WANTED, reference)
    assert verdict.right
    assert verdict.identical == 0.0


@pytest.mark.parametrize("shift", [-1, 1])
def test_one_neighbouring_frame_is_wrong(reference: NDArray[np.uint8], shift: int) -> None:
    given = reference[::6].copy()
    given[4] = reference[24 + shift]
    verdict = judged(given, WANTED, reference)
    assert not verdict.right
    assert verdict.why == "1 wrong frames, the first for number 24"


def test_a_frame_too_few_is_wrong(reference: NDArray[np.uint8]) -> None:
    assert judged(reference[::6][:-1], WANTED, reference).why == "9 frames of 10"


def run(reader: str, mode: str, path: Path, **more: object) -> Run:
    cell = Cell("test", "5", path, fps=30, stop=60, width=160, height=96, step=6)
    return run_once(cell, reader, mode, core=None, **more)  # type: ignore[arg-type]


def test_readers_give_the_same_frames_each_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", b_frames=2)
    kept = tmp_path / "kept.npy"
    every = Cell("test", "all", path, fps=30, stop=60, width=160, height=96, step=1)
    assert run_once(every, "pyav", "straight through", core=None, keep_signatures=kept).frames == 60
    ours = run("reelmill", "sparse", path, reference=np.load(kept), watch_memory=True)
    assert (ours.frames, ours.right, ours.identical, ours.why) == (10, True, 1.0, "")
    assert ours.cpu_s > 0
    assert (ours.peak_bytes or 0) > 10_000_000


def test_a_reader_that_fails_is_a_row_that_says_so(tmp_path: Path) -> None:
    failed = run("pyav", "straight through", make_no_video(tmp_path, "text"))
    assert not failed.right
    assert failed.why.startswith("ended with status 1: ")


def test_the_time_of_a_readers_processes_counts(tmp_path: Path) -> None:
    """Of a forked worker, of one that is a program, and of a worker whose forker was replaced on the way."""
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "import tasks.decode_process as it; from tasks.decode_forking import FORKER\n"
        "from tasks.probing import read_index; from tests.benchmarks.decode_once import adopt_orphans, cpu_s\n"
        "adopt_orphans(); FORKER.prepare(); before, workers_s = cpu_s(), 0.0; settings = it.DecodeSettings()\n"
        "for way in ('forked', 'program', 'forked', 'replaced'):\n"
        "    it.can_fork = lambda: way != 'program'\n"
        "    if way == 'replaced':\n"
        "        os.kill(FORKER.pid, signal.SIGKILL)\n"
        "        os.waitid(os.P_PID, FORKER.pid, os.WEXITED | os.WNOWAIT)\n"
        "    with it.DecodeWorker(settings) as worker: read_index(worker, Path(sys.argv[1]), settings)\n"
        "    workers_s += worker.cpu_s\n"
        "print(workers_s, cpu_s() - before)"
    )
    path = make_video(tmp_path / "video.mp4")
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    workers_s, counted_s = map(float, done.stdout.split())
    assert counted_s > workers_s > 0.05


LEFT = {
    "a child": "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])",
    "an orphan": "subprocess.run(['sh', '-c', 'sleep 60 &'])",
    "a decode worker": "w = DecodeWorker(DecodeSettings()); w.hear()",  # one that nobody holds would end
    "an orphan of a forker": "w = DecodeWorker(DecodeSettings()); w.hear(); os.kill(FORKER.pid, 9); FORKER.end()",
}


@pytest.mark.parametrize("left", LEFT)
def test_time_that_nobody_counts_is_an_error(left: str) -> None:
    script = (
        "import os, subprocess, sys; from tasks.decode_forking import FORKER\n"
        "from tasks.decode_process import DecodeSettings, DecodeWorker\n"
        "from tests.benchmarks.decode_once import adopt_orphans, cpu_s\n"
        f"adopt_orphans(); cpu_s()\n{LEFT[left]}\n"
        "try: cpu_s()\n"
        "finally:\n"
        "    from tests.benchmarks.process_memory import process_tree\n"
        "    [os.kill(pid, 9) for pid in process_tree(os.getpid())[1:]]"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "CPU seconds of 1 processes would go uncounted" in done.stderr


def test_memory_of_childrens_children_counts() -> None:
    command = [sys.executable, "-c", ALLOCATE]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process, PeakMemory(process.pid) as memory:
        deadline_s = time.monotonic() + 30
        while memory.bytes < 80_000_000 and time.monotonic() < deadline_s:
            time.sleep(0.05)
    assert 80_000_000 < memory.bytes < 160_000_000
