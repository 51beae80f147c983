"""Memory of ended decode workers: handed on only when nobody can see or change it, and cleared."""

import fcntl
import os
from collections import deque

import pytest

from tasks.decode_buffers import SharedBuffers
from tasks.decode_protocol import new_memory, seal_size
from tasks.decode_workers import DecodeWorkers
from tasks.decoding import ExtractedFrame, extract
from tasks.frame_buffers import FrameBuffers
from tasks.plans import make_plan
from tasks.probing import probe
from tasks.settings import DecodeSettings
from tasks.spare_memory import SharedMemory, SpareMemory
from tests.video_files import make_video, read_barcode

SIZE_BYTES = 3 * 64 * 48


def buffer_of(value):
    """A buffer as a worker makes it, full of one value; a descriptor of it."""
    fd = new_memory(SIZE_BYTES)
    os.pwrite(fd, bytes([value]) * SIZE_BYTES, 0)
    seal_size(fd)
    return fd


def chunk(number):
    return {"forgotten": [], "buffer": number, "frames": [[0, 0, 48, 64]]}


def test_memory_is_handed_on_when_the_last_array_over_it_is_gone():
    buffers, spare = FrameBuffers(10**6), SpareMemory()
    (held,) = buffers.samples_of(chunk(1), buffer_of(7))
    (free,) = buffers.samples_of(chunk(2), buffer_of(8))
    view = held[1][10:20]
    del free, held
    buffers.leave_to(spare)
    assert len(spare.take(9)) == 1
    assert (view == 7).all()
    del view
    assert len(spare.take(9)) == 1
    assert spare.take(9) == []


def test_the_next_worker_sees_nothing_of_what_was_there():
    spare = SpareMemory()
    spare.add(SharedMemory(buffer_of(7)))
    (memory,) = spare.take(1)
    theirs = SharedBuffers(10**6)
    theirs.adopt(-1, os.dup(memory.fd))
    taken = theirs.take(SIZE_BYTES, SIZE_BYTES)
    assert (taken.number, taken.fd) == (-1, None)
    assert bytes(taken.memory) == bytes(SIZE_BYTES)
    taken.memory[:3] = b"abc"
    assert memory.mapped[:3] == b"abc"


def test_memory_that_was_sealed_on_is_not_handed_on():
    # A worker that its file has taken over could so make the next one fail.
    fd = buffer_of(7)
    memory, spare = SharedMemory(fd), SpareMemory()
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0x10)  # F_SEAL_FUTURE_WRITE
    spare.add(memory)
    assert spare.take(1) == []


def test_what_is_too_much_or_too_late_goes():
    spare = SpareMemory()
    for _ in range(20):
        fd = new_memory(16 * 2**20)
        seal_size(fd)
        spare.add(SharedMemory(fd))
    assert len(spare.take(99)) == 8
    spare.close()
    spare.add(SharedMemory(buffer_of(1)))
    assert spare.take(1) == []


@pytest.fixture
def handed_on(monkeypatch):
    """Buffers that new workers were handed, worker by worker."""
    counts, take = deque(), SpareMemory.take

    def counted(spare, most):
        memories = take(spare, most)
        counts.append(len(memories))
        return memories

    monkeypatch.setattr(SpareMemory, "take", counted)
    return counts


def test_short_videos_one_after_another_use_the_same_memory(tmp_path, handed_on):
    settings = DecodeSettings(workers=1)
    videos = [make_video(tmp_path / f"{number}.mp4", frames=20, gop=5, width=160 + 16 * number) for number in range(4)]
    probed = [probe(video, settings) for video in videos]
    handed_on.clear()
    with DecodeWorkers(settings) as workers:
        for video, (facts, index) in zip(videos, probed, strict=True):
            plan = make_plan(index, infer_fps=None, settings=settings)
            items = extract(video, plan, range(len(plan.segments)), facts=facts, workers=workers)
            frames = [item for item in items if isinstance(item, ExtractedFrame)]
            assert [read_barcode(frame.pixels) for frame in frames] == list(range(20))
            del items, frames
    assert handed_on[0] == 0
    assert min(list(handed_on)[1:]) > 0
