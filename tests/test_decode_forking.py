"""The process that decode workers are forked from: shared, single-threaded, replaced when lost, never left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tasks.decode_forking import FORKER, can_fork
from tasks.decode_process import DecodeWorker, DecodeWorkerError
from tasks.probing import probe, read_index
from tasks.settings import DecodeSettings
from tests.decode_processes import extraction_of, forkers_of, is_gone, workers_of
from tests.video_files import make_video, read_barcode

ROOT = Path(__file__).resolve().parent.parent
ONE = DecodeSettings(workers=1, stall_timeout_s=2)

pytestmark = pytest.mark.skipif(not can_fork(), reason="this system has no process descriptors")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "video.mp4", frames=240, b_frames=2)


@pytest.fixture
def forker():
    """The process id of this process's forker, which has loaded its libraries."""
    FORKER.prepare()
    (pid,) = forkers_of(os.getpid())
    return pid


def threads_of(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_all_workers_come_from_one_process_of_one_thread(forker, video):
    assert threads_of(forker) == 1
    with DecodeWorker(ONE) as one, DecodeWorker(ONE) as other:
        for worker in (one, other):
            read_index(worker, video, ONE)
        assert sorted(workers_of(os.getpid())) == sorted([one.pid, other.pid])
        assert threads_of(forker) == 1
    assert forkers_of(os.getpid()) == [forker]
    assert not workers_of(os.getpid())


def test_threads_that_start_workers_at_once_share_one(video):
    FORKER.end()
    counts = []
    ready = threading.Barrier(4)

    def run():
        ready.wait()
        counts.append(probe(video)[0].frame_count)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts == [240] * 4
    assert len(forkers_of(os.getpid())) == 1
    assert not workers_of(os.getpid())


def test_a_worker_holds_nothing_of_the_forker_or_of_other_workers(forker, video):
    with DecodeWorker(ONE) as other, DecodeWorker(ONE) as worker:
        for each in (other, worker):
            assert each.hear() is None
        open_files = [str(link.readlink()) for link in Path(f"/proc/{worker.pid}/fd").iterdir()]
        sockets = {name for name in open_files if name.startswith("socket:")}
        stderr = str(Path(f"/proc/{forker}/fd/2").readlink())
        assert len(sockets - {stderr}) == 1
        assert not sockets & {str(link.readlink()) for link in Path(f"/proc/{forker}/fd").iterdir()} - {stderr}
        assert set(open_files) == sockets | {"/dev/null", stderr}
        assert os.getsid(worker.pid) == worker.pid


def soft_limit(pid, name):
    (line,) = [line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith(name)]
    return line.removeprefix(name).split()[0]


def test_each_worker_has_limits_of_its_own_and_the_forker_has_none(forker):
    sizes = [2**32, 2**33]
    workers = [DecodeWorker(DecodeSettings(memory_limit_bytes=size)) for size in sizes]
    try:
        for worker, size in zip(workers, sizes, strict=True):
            worker.hear()
            assert soft_limit(worker.pid, "Max address space") == str(size)
            assert soft_limit(worker.pid, "Max core file size") == "0"
        assert soft_limit(forker, "Max address space") == "unlimited"
        eager, calm = (int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (workers[0].pid, forker))
        assert eager > calm or eager == 1000
    finally:
        for worker in workers:
            worker.close()


def test_a_forker_that_was_killed_is_replaced(forker, video):
    os.kill(forker, signal.SIGKILL)
    assert probe(video)[0].frame_count == 240
    assert forkers_of(os.getpid()) == [FORKER.pid]
    assert FORKER.pid != forker
    assert is_gone(forker, 0)


@pytest.mark.parametrize("stopped", [False, True])
def test_workers_whose_forker_is_killed_end_and_no_frame_is_lost(forker, video, stopped):
    _, frames = extraction_of(video, ONE)
    given = [next(frames)]
    (worker,) = workers_of(os.getpid())
    if stopped:
        os.kill(worker, signal.SIGSTOP)
    os.kill(forker, signal.SIGKILL)
    assert is_gone(worker)
    given += frames
    assert [read_barcode(frame.pixels) for frame in given] == list(range(240))
    assert is_gone(forker, 0)
    assert not workers_of(os.getpid())


def test_it_is_said_that_the_forker_ended(forker):
    with DecodeWorker(ONE) as worker:
        worker.hear()
        os.kill(forker, signal.SIGKILL)
        with pytest.raises(DecodeWorkerError, match="ended with the process that it was forked from"):
            worker.answer()
    assert is_gone(forker, 0)


def test_a_forker_that_hangs_costs_time_and_nothing_else(forker, video):
    os.kill(forker, signal.SIGSTOP)
    began_s = time.monotonic()
    assert probe(video, ONE)[0].frame_count == 240
    assert time.monotonic() - began_s < 30
    assert is_gone(forker, 0)
    assert not workers_of(os.getpid())


IDLE = "FORKER.prepare(); print('there', flush=True); "
DECODING = "_, frames = extraction_of(Path({!r}), ONE); next(frames); print('there', flush=True); "
ENDS = {
    "killed": "time.sleep(60)",
    "terminated": "time.sleep(60)",
    "at its end": "",
    "by an error": "1 / 0",
    "at once": "os._exit(3)",
}


FEW = [("idle", "killed"), ("stopped", "killed"), ("idle", "at its end"), ("decoding", "at once")]
MORE = [(doing, end) for doing in ("idle", "decoding", "stopped") for end in ENDS if (doing, end) not in FEW]


@pytest.mark.parametrize(("doing", "end"), [*FEW, *(pytest.param(*each, marks=pytest.mark.long) for each in MORE)])
def test_nothing_is_left_however_the_parent_ends(video, doing, end):
    stopped = DECODING.replace("print", "os.kill(workers_of(os.getpid())[0], signal.SIGSTOP); print")
    text = {"idle": IDLE, "decoding": DECODING, "stopped": stopped}[doing].format(str(video))
    release = "" if end in ("killed", "terminated") else "sys.stdin.readline(); "
    script = f"from tests.test_decode_forking import *\n{text}{release}{ENDS[end]}"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout.readline() == "there\n"
        ours = [*forkers_of(parent.pid), *workers_of(parent.pid)]
        assert len(ours) == (1 if doing == "idle" else 2)
        if release:
            parent.stdin.write("\n")
            parent.stdin.close()
        else:
            parent.send_signal(signal.SIGKILL if end == "killed" else signal.SIGTERM)
        parent.wait(20)
    assert all(map(is_gone, ours))


FORKS = """
import multiprocessing
from tests.test_decode_forking import *

def in_a_fork(path):
    assert FORKER.pid is None
    assert not workers_of(os.getpid())
    print(probe(path)[0].frame_count, FORKER.pid, flush=True)

if __name__ == "__main__":
    path = Path(sys.argv[1])
    FORKER.prepare()
    before = FORKER.pid
    with DecodeWorker(ONE) as worker:
        worker.hear()
        with FORKER._lock:  # as another thread may hold it
            child = multiprocessing.get_context("fork").Process(target=in_a_fork, args=(path,))
            child.start()
        child.join()
        assert child.exitcode == 0
        assert FORKER.pid == before
        read_index(worker, path, ONE)
        assert forkers_of(os.getpid()) == [before]
    print(probe(path)[0].frame_count, FORKER.pid, flush=True)
"""


def test_a_fork_of_the_parent_has_a_forker_of_its_own(video):
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(video)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    (one, first), (two, second) = (line.split() for line in done.stdout.splitlines())
    assert one == two == "240"
    assert first != second
    assert is_gone(int(first))
    assert is_gone(int(second))


def test_cpu_seconds_of_ended_workers_stay_known(forker, video):
    before_s = FORKER.cpu_s()
    with DecodeWorker(ONE) as worker:
        read_index(worker, video, ONE)
    assert FORKER.cpu_s() - before_s >= worker.cpu_s > 0
