"""One network in ONNX on one device: arrays by name in, arrays by name out, any number of frames at a time.

Knows nothing of cards, pictures and elements. No library of custom operators is ever loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from models.errors import PermanentError
from models.kept_memory import keep_freed_memory
from models.vision_model import ModelLoadError

_log = logging.getLogger(__name__)

_NUMPY_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_ERRORS_ONLY = 3
_LONGEST_REASON = 300

Array = NDArray[Any]


class OnnxRunError(PermanentError):
    """The network did not run through, or gave what it cannot have meant."""


@dataclass(frozen=True)
class NetworkInput:
    """One input as the file describes it; None in `shape` is a length that may be any."""

    name: str
    shape: tuple[int | None, ...]
    dtype: Any


class OnnxNetwork:
    """A network ready to run.

    Batches are what its first dimension allows: any number at once, or as many as it was exported for, the last batch
    filled up with a repeated row that is cut off again.
    """

    def __init__(self, path: Path, device: str) -> None:
        """Load `path` onto `device`. Raises `ModelLoadError` with onnxruntime's reason."""
        self.name = path.name
        self._session = _session(path, device)
        self.inputs = {one.name: _network_input(one, path.name) for one in self._session.get_inputs()}
        self.output_names = tuple(one.name for one in self._session.get_outputs())
        fixed = {one.shape[0] for one in self.inputs.values() if one.shape and one.shape[0] is not None}
        if len(fixed) > 1:
            raise ModelLoadError(f"{path.name} takes inputs of {sorted(fixed)} rows at once; export it with one batch.")
        self._batch_size: int | None = fixed.pop() if fixed else None

    @property
    def metadata(self) -> dict[str, str]:
        """What the exporter wrote into the file beside the network."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def output_shape(self, name: str) -> tuple[int | None, ...]:
        """An output's shape as the file describes it; None is a length that may be any."""
        (found,) = [one for one in self._session.get_outputs() if one.name == name]
        return _lengths(found.shape)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run rows `(n, …)` of each input; gives rows of each output, half-precision floats as float32.

        Raises `OnnxRunError` where the network fails, gives another number of rows, or numbers that are none.
        """
        rows = len(next(iter(feeds.values())))
        typed = {name: value.astype(self.inputs[name].dtype, copy=False) for name, value in feeds.items()}
        size = self._batch_size or rows
        parts = [self._run_rows(typed, start, min(start + size, rows), size) for start in range(0, rows, size)]
        outputs = parts[0]
        if len(parts) > 1:
            outputs = {name: np.concatenate([part[name] for part in parts]) for name in self.output_names}
        for name, value in outputs.items():
            if value.dtype == np.float16:
                outputs[name] = value.astype(np.float32)
            if value.dtype.kind == "f" and np.isnan(value).any():
                raise OnnxRunError(f"{self.name} gives numbers that are none (NaN) in {name}; its weights are broken.")
        return outputs

    def _run_rows(self, feeds: Mapping[str, Array], start: int, stop: int, size: int) -> dict[str, Array]:
        missing = size - (stop - start)
        batch = {name: value[start:stop] for name, value in feeds.items()}
        if missing:
            batch = {name: np.concatenate([part, part[-1:].repeat(missing, axis=0)]) for name, part in batch.items()}
        try:
            outputs = self._session.run(None, batch)
        except Exception as error:
            raise OnnxRunError(f"{self.name} did not run through: {_in_one_line(error)}") from error
        for name, value in zip(self.output_names, outputs, strict=True):
            if not isinstance(value, np.ndarray) or value.ndim == 0 or len(value) != size:
                shape = getattr(value, "shape", type(value).__name__)
                raise OnnxRunError(
                    f"{self.name} gives {name} as {shape} for {size} frames; export it with one batch axis."
                )
        return {name: value[: stop - start] for name, value in zip(self.output_names, outputs, strict=True)}


def _session(path: Path, device: str) -> Any:
    keep_freed_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin while they wait would take the cores from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, sess_options=options, providers=_providers(device))
    except Exception as error:
        raise ModelLoadError(f"{path.name} cannot be loaded by onnxruntime: {_in_one_line(error)}") from error


def _providers(device: str) -> list[Any]:
    """CUDA where it was asked for and onnxruntime was built with it, else the CPU, which is logged."""
    target = torch.device(device)
    if target.type != "cuda":
        return [_CPU]
    if _CUDA not in onnxruntime.get_available_providers():
        _log.warning("this onnxruntime has no CUDA, so the model runs on the CPU; install onnxruntime-gpu instead")
        return [_CPU]
    return [(_CUDA, {"device_id": target.index or 0}), _CPU]


def _network_input(described: Any, file_name: str) -> NetworkInput:
    dtype = _NUMPY_TYPES.get(described.type)
    if dtype is None:
        raise ModelLoadError(f"{file_name} takes {described.name} as {described.type}, which no picture can be.")
    return NetworkInput(described.name, _lengths(described.shape), dtype)


def _lengths(shape: Any) -> tuple[int | None, ...]:
    """Lengths that have a name, or none, may be any."""
    return tuple(length if isinstance(length, int) and length > 0 else None for length in shape or ())


def _in_one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"
