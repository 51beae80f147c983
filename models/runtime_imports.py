"""Import what runs a model, whole and at once, so that it can be done beside other work and not in its midst.

torch and transformers are seconds of imports. While their classes are made Python looks for garbage hundreds of times,
and when the process ends once more through all of them; there is none. So nobody looks while they are imported, and
what is there then is left out of every later look.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from models.architectures import types_of
from models.vision_model import ModelLoadError

_IMPORTING = threading.RLock()
_YOUNG = 1
"""Objects that went through one look at most: all that a process has made in its last moments."""
_MANY_MODULES = 200
"""Fewer than a runtime has: it was imported before."""


@contextmanager
def importing() -> Iterator[None]:
    """Have model code imported by one thread at a time, and no garbage collected meanwhile nor among what it imports.

    Modules that import each other, as transformers' do, may be seen half made where two threads begin at two ends.
    """
    with _IMPORTING:
        collecting, modules = gc.isenabled(), len(sys.modules)
        gc.collect(_YOUNG)  # what is frozen as garbage stays, and may hold frames
        gc.disable()
        try:
            yield
        finally:
            if len(sys.modules) - modules >= _MANY_MODULES:
                gc.freeze()
            if collecting:
                gc.enable()


def import_runtime(folder: Path) -> None:
    """Import what runs the model that `folder` holds, and nothing that runs only others; loads no weights.

    Of a folder whose configuration cannot be read nothing is said here: the model's `setup` does that.
    """
    with importing():
        if import_module("models.onnx_folder").is_onnx_folder(folder):
            import_module("models.onnx_models")
            return
        import_module("transformers.modeling_utils")
        loading, transformers = import_module("models.transformers_loading"), import_module("transformers")
        config: dict[str, Any] = {}
        with suppress(ModelLoadError):
            config = loading.read_config(folder)
        for architecture in loading.architectures_of(config):
            if types_of([architecture]):
                getattr(transformers, architecture, None)  # transformers imports a class when it is asked for
