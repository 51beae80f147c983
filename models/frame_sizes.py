"""How large a processor makes a frame: pure arithmetic on heights and widths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

Size = tuple[int, int]
"""`(height, width)` in pixels."""


@dataclass(frozen=True)
class SizeRule:
    """A processor's `size`, with the ways in which some classes read it differently."""

    EDGES: ClassVar = frozenset({"height", "width", "shortest_edge", "longest_edge", "max_height", "max_width"})

    height: int | None = None
    width: int | None = None
    shortest_edge: int | None = None
    longest_edge: int | None = None
    max_height: int | None = None
    max_width: int | None = None
    round_down_to: int = 1
    """Both sides are rounded down to a multiple of it (YOLOS: 16)."""
    round_up_to: int = 1
    """Both sides are rounded up to a multiple of it (MaskFormer's `size_divisor`)."""
    nearest_to: int = 1
    """Both sides become the nearest multiple of it (DPT's `ensure_multiple_of`)."""
    fit: bool = False
    """Height or width is met, whichever changes the frame less, and the other follows (DPT's `keep_aspect_ratio`)."""

    def target(self, height: int, width: int) -> Size | None:
        """Return the `(height, width)` that a frame of `height` × `width` is resized to; None where no rule is set."""
        size = self._target(height, width)
        return None if size is None else (self._rounded(size[0]), self._rounded(size[1]))

    def _rounded(self, side: int) -> int:
        side -= side % self.round_down_to
        return -(-side // self.round_up_to) * self.round_up_to

    def _target(self, height: int, width: int) -> Size | None:
        if self.shortest_edge and self.longest_edge:
            return _within_edges(height, width, self.shortest_edge, self.longest_edge)
        if self.shortest_edge:
            return shortest_edge_size(height, width, self.shortest_edge)
        if self.max_height and self.max_width:
            return _within(height, width, self.max_height, self.max_width)
        if self.height and self.width:
            return self._near(height, width, (self.height, self.width))
        return None

    def _near(self, height: int, width: int, size: Size) -> Size:
        if self.nearest_to == 1 and not self.fit:
            return size
        down, across = size[0] / height, size[1] / width
        if self.fit:
            down = across = across if abs(1 - across) < abs(1 - down) else down
        return self._multiple(down * height), self._multiple(across * width)

    def _multiple(self, side: float) -> int:
        """Halves fall to the even multiple, as Python rounds."""
        return round(side / self.nearest_to) * self.nearest_to


def _within_edges(height: int, width: int, shortest: int, longest: int) -> Size:
    from transformers.image_transforms import get_size_with_aspect_ratio  # not at the top: ONNX models need none of it

    return _pair(get_size_with_aspect_ratio((height, width), shortest, longest))


def _within(height: int, width: int, max_height: int, max_width: int) -> Size:
    from transformers.image_utils import get_image_size_for_max_height_width

    return _pair(get_image_size_for_max_height_width((height, width), max_height, max_width))


def _pair(size: tuple[int, ...]) -> Size:
    height, width = size
    return int(height), int(width)


def shortest_edge_size(height: int, width: int, edge: int) -> Size:
    """Scale so that the shorter side is `edge`; the longer one is rounded down, as torchvision and transformers do."""
    if width <= height:
        return int(edge * height / width), edge
    return edge, int(edge * width / height)
