"""A network that torch compiles for batches of a few sizes, and that runs as it is where it cannot be compiled."""

from __future__ import annotations

import logging
from typing import Any

import torch

_log = logging.getLogger(__name__)


class CompiledNetwork:
    """Runs a network's `forward` compiled; safe to be called by several threads.

    Every size of batch is compiled anew, which takes seconds to minutes. So batches are filled up to a power of two of
    rows, or to the most rows seen so far where that is less, by repeating the last row, and what those give is cut off.
    """

    def __init__(self, network: Any, backend: str = "inductor") -> None:
        self._network = network
        self._compiled = torch.compile(network, dynamic=False, backend=backend)
        self._most = 1

    def __call__(self, **inputs: torch.Tensor) -> Any:
        """Take the network's inputs, rows `(n, …)` each, and give its outputs.

        Raises what the network raises; where only compiling fails, that is logged and the network runs as it is.
        """
        if self._compiled is None:
            return self._network(**inputs)
        rows = len(next(iter(inputs.values())))
        filled = self._rows_for(rows)
        try:
            outputs = self._compiled(**{name: fill(value, filled) for name, value in inputs.items()})
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            outputs = self._network(**inputs)  # what is wrong with the frames is wrong here too
            _log.warning("the model is not compiled: %s: %s", type(error).__name__, beginning(error))
            self._compiled = None
            return outputs
        for name, value in outputs.items():
            if isinstance(value, torch.Tensor) and value.ndim and len(value) == filled:
                outputs[name] = value[:rows]
        return outputs

    def _rows_for(self, rows: int) -> int:
        self._most = max(self._most, rows)
        return min(self._most, 1 << (rows - 1).bit_length())


def fill(value: torch.Tensor, rows: int) -> torch.Tensor:
    """Repeat the last row until there are `rows`."""
    missing = rows - len(value)
    return torch.cat([value, value[-1:].expand(missing, *value.shape[1:])]) if missing else value


def beginning(error: Exception) -> str:
    """What went wrong in one line, without the pages that torch adds."""
    return " ".join(str(error).split())[:300]
