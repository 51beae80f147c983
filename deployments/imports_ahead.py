"""While the server comes up: import what the job needs, here and in a thread, and have the models' files at hand."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.resolved_models import ResolvedModel
    from tasks.store import Store

_log = logging.getLogger(__name__)


def import_flows() -> None:
    """Import Prefect and the flows, which nothing can begin without."""
    from models.runtime_imports import importing

    with importing():
        import flows.infer_video  # noqa: F401


def import_models_aside(store: Store, models: Sequence[ResolvedModel]) -> threading.Thread:
    """Begin to import what runs the models, in a thread that the job does not wait for before it sets one up.

    The job's first steps are Prefect's and mostly wait for the server: the imports fill those waits.
    """
    thread = threading.Thread(target=_import_models, args=(store, models), name="imports-ahead", daemon=True)
    thread.start()
    return thread


def _import_models(store: Store, models: Sequence[ResolvedModel]) -> None:
    from models.inference_types import vision_model_class
    from models.runtime_imports import import_runtime
    from tasks.resolved_models import model_folder
    from tasks.settings import StoreSettings

    cache_dir = StoreSettings().cache_dir.expanduser()
    try:
        for model in models:
            import_runtime(model_folder(store, model, cache_dir))
            vision_model_class(model.inference_type)
    except Exception as error:  # the job does all of this again, and says what is wrong
        _log.debug("imports ahead of the job ended early: %s", error)
