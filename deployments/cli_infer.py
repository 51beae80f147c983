"""`reelmill infer`: a video file and models in, a result out, with nothing set up before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from deployments.cli_errors import BAD_REQUEST, FAILED, INCOMPLETE
from deployments.cli_output import note, say, say_json

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

    from deployments.job_results import JobOutcome
    from models.request import InferenceRequest
    from tasks.resolved_models import ResolvedModel
    from tasks.store import Store

ModelOption = Annotated[
    list[str],
    typer.Option(
        "--model",
        metavar="MODEL[@REVISION][:TYPE]",
        help="A catalog name, a hub id or a folder. Give it again for more models.",
    ),
]
FpsOption = Annotated[
    str, typer.Option("--fps", metavar="F", help="Frames to look at in a second: 5, 0.5, 1/3, or all.")
]
ParamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="MODEL.NAME=VALUE",
        help="A model's parameter, such as detector.confidence=0.25; `alias` and `pool` are set so too.",
    ),
]
StartOption = Annotated[float | None, typer.Option("--start-s", metavar="S", help="Leave out samples before it.")]
EndOption = Annotated[float | None, typer.Option("--end-s", metavar="S", help="Leave out samples at or after it.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Run the job although the result of the same request is there already.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_PATIENCE_S = 3.0
"""After Ctrl-C: how long the models may go on before the process ends without them."""


def add_commands(app: typer.Typer) -> None:
    """Add `infer`."""
    app.command()(infer)


def infer(
    video: Annotated[
        str, typer.Argument(metavar="VIDEO", help="A file, an https URL, or the id of a registered video.")
    ],
    *,
    model: ModelOption,
    fps: FpsOption,
    param: ParamOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the result goes; ./NAME-predictions if left out.")
    ] = None,
    start_s: StartOption = None,
    end_s: EndOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log.")] = False,
) -> int:
    """Run models on the frames of a video, on this machine, and write predictions.json.

    Exit status: 0 done, 1 the job failed, 2 a bad request, 3 done with frames missing.
    """
    from deployments.embedded import embedded_prefect
    from deployments.imports_ahead import import_flows, import_models_aside
    from deployments.inference_arguments import check_arguments, make_request, name_of, source_of
    from deployments.job_bar import job_bar
    from deployments.signals import signals_interrupt

    check_arguments(video, models=model, params=param or [], fps=fps)
    with (
        signals_interrupt(patience_s=_PATIENCE_S) as interruption,
        embedded_prefect(verbose=verbose) as prefect,
    ):
        interruption.finally_do(prefect.remove)
        from tasks.arrow_alone import load_arrow
        from tasks.store import open_store

        load_arrow()
        store = open_store()
        with job_bar(store) as follow:
            source = source_of(store, video)
            request = make_request(
                store, models=model, params=param or [], fps=fps, start_s=start_s, end_s=end_s, force=force, **source
            )
            models = check_request(store, request)
            import_flows()
            import_models_aside(store, models)
            prefect.wait_until_ready()
            outcome = run_here(store, request, follow)
    folder = out or Path(f"{name_of(video)}-predictions")
    return report(outcome, fetched(store, outcome, folder), as_json=as_json)


def check_request(store: Store, request: InferenceRequest) -> list[ResolvedModel]:
    """Raise now, while the server comes up, what would make the job fail at its start; gives the models resolved."""
    from models.request import parse_fps
    from tasks.model_sources import resolve_models
    from tasks.plans import make_plan
    from tasks.settings import StoreSettings
    from tasks.stored_index import index_of
    from tasks.videos import find_video

    models = resolve_models(store, list(request.models))
    if request.video_id is None:
        return models
    video = find_video(store, request.video_id)
    index = index_of(store, video, StoreSettings().cache_dir.expanduser())
    make_plan(index, infer_fps=parse_fps(request.infer_fps), start_s=request.start_s, end_s=request.end_s)
    return models


def run_here(store: Store, request: InferenceRequest, follow: Callable[[str], None]) -> JobOutcome:
    """Run the job in this process; `follow` is told its id when it starts."""
    from deployments.job_results import outcome_of
    from flows.infer_video import infer_video

    def running(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
        follow(str(flow_run.id))

    state = cast("State[Any]", infer_video.with_options(on_running=[running])(request, return_state=True))
    return outcome_of(store, str(state.state_details.flow_run_id), state.type.value, state.message)


def fetched(store: Store, outcome: JobOutcome, folder: Path) -> list[Path]:
    """The files of the result, copied into `folder`; none where the job published none."""
    from deployments.job_results import fetch_result

    return fetch_result(store, outcome.prefix, folder) if outcome.prefix else []


def report(outcome: JobOutcome, files: Sequence[Path], *, as_json: bool) -> int:
    """Say how the job ended and where its files are; the exit status."""
    if as_json:
        say_json({**asdict(outcome), "files": files, "exit_status": outcome.exit_status})
    else:
        for path in files:
            say(str(path))
    if outcome.exit_status in (FAILED, BAD_REQUEST):
        note(f"reelmill: {outcome.message or f'the job ended in state {outcome.state_type}.'}")
    elif outcome.exit_status == INCOMPLETE:
        note(f"{outcome.frames_failed} of {outcome.frames_total} frames are missing; job.json says why.")
    return outcome.exit_status
