"""Which parts of which jobs share a GPU run: short videos together, long ones alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.gpu_watch import Part
from tasks.job_spec import digest


def samples_of(part: Part) -> int:
    """Samples of the part's segments."""
    spans = (part.plan.segments[segment] for segment in part.group.segments)
    return sum(stop - start for start, stop in spans)


def goes_with(part: Part) -> tuple[str, str]:
    """What parts must have in common to share a run: the pool, and the networks that are loaded for it."""
    networks = {digest(model.model.fingerprint_parts()) for model in part.spec.models_of(part.group)}
    return part.group.pool, digest(sorted(networks))


def packed(
    parts: Sequence[Part], *, most_samples: int, most_parts: int, flush: bool = False
) -> tuple[list[list[Part]], list[Part]]:
    """Put parts together in their order; gives the packs that are full, and the parts that wait for more.

    A pack is full when the next part would bring it above `most_samples`, or when it has `most_parts`; a longer part
    is a pack of its own. With `flush` every pack is taken for full. No pack has two parts of one job.
    """
    full: list[list[Part]] = []
    open_packs: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        kind, samples = goes_with(part), samples_of(part)
        if samples >= most_samples:
            full.append([part])
            continue
        pack = open_packs.setdefault(kind, [])
        same_job = any(other.spec.job_id == part.spec.job_id for other in pack)
        if same_job or sum(map(samples_of, pack)) + samples > most_samples:
            full.append(pack)
            pack = open_packs[kind] = []
        pack.append(part)
        if len(pack) >= most_parts:
            full.append(pack)
            open_packs[kind] = []
    rest = [pack for pack in open_packs.values() if pack]
    return (full + rest, []) if flush else (full, [part for pack in rest for part in pack])
