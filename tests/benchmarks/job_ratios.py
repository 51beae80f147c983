"""What the figures of jobs are held against. Pure numbers."""

from __future__ import annotations

from collections.abc import Sequence

BYTES_A_PACKET = 16
SLACK = 0.10


def whole_to_sum(whole_s: float, decode_s: float, forwards_s: Sequence[float]) -> float:
    """A whole job's wall to decoding once and every model's forward: what counts where they share the cores."""
    return whole_s / (decode_s + sum(forwards_s))


def whole_to_larger(whole_s: float, decode_s: float, forwards_s: Sequence[float]) -> float:
    """A whole job's wall to the larger of decoding and all models: what counts where these run on a GPU."""
    return whole_s / max(decode_s, sum(forwards_s))


def second_model(two_s: float, one_s: float, forward_s: float) -> float:
    """What a second model adds to a job, in forwards of its own."""
    return (two_s - one_s) / forward_s


def each_more(small: float, small_s: float, large: float, large_s: float) -> float:
    """Seconds that each more of something costs, between two runs."""
    return (large_s - small_s) / (large - small)


def allowed_bytes(base_bytes: int, packets: int) -> int:
    """What all processes together may hold: the shortest video's peak, so much a packet, and a tenth."""
    return int((base_bytes + BYTES_A_PACKET * packets) * (1 + SLACK))
