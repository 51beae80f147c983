"""Load pyarrow without pandas, which it imports where it is installed, and which nothing here uses.

pyarrow asks of the first value that it converts whether it is one of pandas', and imports pandas for the question:
two thirds of a second, in every process of a job. It asks once, and no more where pandas cannot be imported then;
what really needs pandas, as `Table.to_pandas` does, imports it later all the same.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NoPandas(MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out", name="pandas")
        return None


def load_arrow() -> None:
    """Import pyarrow and have it asked; harmless when pyarrow or pandas were loaded before."""
    import pyarrow as pa

    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(finder)
