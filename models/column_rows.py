"""What the columns of every inference type share: rows, checks of their keys, fields, derived ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from models.elements import Element
from models.errors import PermanentError

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


class ElementShapeError(PermanentError):
    """A model gave an element that its inference type does not allow."""


class ElementColumns(Protocol):
    """The columns of one inference type. Stateless; `to_element(to_row(e)) == e`, keys in the format's order."""

    def schema(self) -> pa.Schema:
        """Give the type's own columns; every one of them is null where a frame has no element.

        Columns of one name must be of one kind in all types (a list of structs, a struct, a number): a result's table
        has the fields of all of them.
        """

    def to_row(self, element: Element) -> Row:
        """Spread an element over the columns. Raises `ElementShapeError` for keys too many or too few."""

    def to_element(self, row: Mapping[str, Any]) -> Element:
        """Put the element of one row together again."""

    def stamp(self, element: Element, time_s: float, id_seed: str) -> Element:
        """Fill in what a model does not know: its time for this frame, and ids that follow from `id_seed`."""


def derived_id(id_seed: str, rank: int) -> str:
    """Give the UUID (RFC 9562, version 8) of the `rank`-th thing in the element that `id_seed` names; never drawn."""
    digest = bytearray(blake2b(f"{id_seed}:{rank}".encode(), digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


def frame_fields() -> list[tuple[str, pa.DataType]]:
    """Give the fields that most elements begin with: `time` and `image`."""
    import pyarrow as pa

    return [("time", pa.float64()), ("image", pa.struct([("width", pa.int64()), ("height", pa.int64())]))]


def checked(value: Any, keys: Sequence[str], *, optional: Sequence[str] = ()) -> Row:
    """Copy a mapping whose keys are `keys`, give or take the optional ones; Arrow would drop others silently."""
    given = set(value) if isinstance(value, Mapping) else set()
    if given - set(keys) or set(keys) - set(optional) - given:
        raise ElementShapeError(
            f"The model gave an element with the keys {', '.join(sorted(map(str, given)))} where the result format has "
            f"{', '.join(keys)}; its inference type is implemented wrongly."
        )
    return dict(value)


def present(row: Mapping[str, Any], keys: Sequence[str]) -> Row:
    """Copy those of the keys, in their order, that the row does not have as null."""
    return {key: row[key] for key in keys if row.get(key) is not None}


def with_time(element: Any, time_s: float) -> Row:
    """Copy an element with its time in the first place."""
    stamped: Row = {"time": time_s, **element}
    stamped["time"] = time_s
    return stamped
