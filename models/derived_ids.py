"""Ids of detections: they follow from what was found where, so that the same work gives the same ids; never drawn.

UUIDs of RFC 9562, version 8. One at a time, or those of a batch at once, whose text numpy writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_ID_BYTES = 16
_TEXT_LENGTH = 36
_DIGIT_PLACES = np.array([place for place in range(_TEXT_LENGTH) if place not in (8, 13, 18, 23)])
_HEX = np.frombuffer(b"".join(f"{byte:02x}".encode() for byte in range(256)), np.uint8).reshape(256, 2)


def derived_id(id_seed: str, rank: int) -> str:
    """Give the UUID of the `rank`-th thing in the element that `id_seed` names."""
    digest = bytearray(blake2b(f"{id_seed}:{rank}".encode(), digest_size=_ID_BYTES).digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


def derived_ids(id_seeds: Sequence[str], counts: Sequence[int]) -> pa.StringArray:
    """Give `derived_id(seed, rank)` for the ranks 0 to before the count of each seed, one seed after the other."""
    import pyarrow as pa

    ranks = [str(rank).encode() for rank in range(max(counts, default=0))]
    digests = bytearray()
    for seed, count in zip(id_seeds, counts, strict=True):
        begun = blake2b(f"{seed}:".encode(), digest_size=_ID_BYTES)
        for rank in ranks[:count]:
            digest = begun.copy()
            digest.update(rank)
            digests += digest.digest()
    texts = _texts(np.frombuffer(digests, np.uint8).reshape(-1, _ID_BYTES))
    ends = np.arange(len(texts) + 1, dtype=np.int32) * _TEXT_LENGTH
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends.tobytes()), pa.py_buffer(texts.tobytes()))


def _texts(digests: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(n, 16)` bytes → `(n, 36)` characters, with the bits of the version and the variant in their places."""
    marked = digests.copy()
    marked[:, 6] = marked[:, 6] & 0x0F | 0x80
    marked[:, 8] = marked[:, 8] & 0x3F | 0x80
    texts = np.full((len(marked), _TEXT_LENGTH), ord("-"), np.uint8)
    texts[:, _DIGIT_PLACES] = _HEX[marked].reshape(len(marked), 2 * _ID_BYTES)
    return texts
