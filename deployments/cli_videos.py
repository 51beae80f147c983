"""`reelmill probe`, `register`, `videos`, `delete` and `sweep-cache`: videos before and beside any job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli_output import note, say, say_json, say_table

if TYPE_CHECKING:
    from tasks.plans import Plan
    from tasks.video_facts import VideoFacts
    from tasks.videos import Video

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
_LISTED = 12
"""Samples that a person is shown; --json gives them all."""


def add_commands(app: typer.Typer) -> None:
    """Add the commands about videos."""
    app.command()(probe)
    app.command()(register)
    app.command("videos")(list_registered)
    app.command()(delete)
    app.command("sweep-cache")(sweep_cache)


def probe(
    video: Annotated[Path | None, typer.Argument(metavar="VIDEO", help="A video file.")] = None,
    *,
    fps: Annotated[
        str | None, typer.Option("--fps", metavar="F", help="Show the samples that this rate would give.")
    ] = None,
    versions: Annotated[bool, typer.Option("--versions", help="Say which decoder libraries are used.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a video's facts, and which frames a rate would give."""
    if versions or video is None:
        if not versions:
            raise typer.BadParameter("give a VIDEO, or --versions")
        _say_facts(library_versions(), as_json=as_json)
        return
    from models.request import parse_fps
    from tasks.plans import make_plan
    from tasks.probing import probe as probe_file

    wanted = parse_fps(fps) if fps is not None else None
    facts, index = probe_file(video.expanduser())
    plan = make_plan(index, infer_fps=wanted) if fps is not None else None
    if as_json:
        say_json(facts.model_dump(mode="json") | (_samples(plan) if plan else {}))
        return
    _say_facts(_shown_facts(facts), as_json=False)
    if plan:
        _say_samples(plan)


def library_versions() -> dict[str, str]:
    """PyAV's version, and those of the FFmpeg libraries in it."""
    import av

    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return {"PyAV": av.__version__, **libraries}


def _say_facts(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(facts)
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        say(f"{name:{width}}  {value}")


def _shown_facts(facts: VideoFacts) -> dict[str, Any]:
    from tasks.video_facts import frames_text

    return {
        "container": facts.container,
        "codec": facts.codec,
        "size": f"{facts.width} × {facts.height}{_orientation(facts)}",
        "pixel aspect": facts.pixel_aspect,
        "colours": ", ".join(_colours(facts)),
        "rate": f"{facts.rate} frames/s, {'constant' if facts.constant_rate else 'variable'}",
        "frames": frames_text(facts),
        "duration": f"{facts.duration_s:.3f} s",
    }


def _orientation(facts: VideoFacts) -> str:
    mirrored = ", mirrored" if facts.mirrored else ""
    return mirrored + (f", turned by {facts.rotation}°" if facts.rotation else "")


def _colours(facts: VideoFacts) -> list[str]:
    """How the frames are stored, and what happens to that on the way to 8-bit RGB, where it isn't the file's word."""
    matrix = facts.colour_matrix
    said = [
        facts.pixel_format,
        f"{matrix}, taken as bt601" if matrix in ("unspecified", "other") else matrix,
        f"{facts.colour_range} range",
    ]
    if facts.transfer != "sdr":
        said.append(f"{facts.transfer}, not tone-mapped")
    return [*said, "interlaced, shown woven"] if facts.interlaced else said


def _samples(plan: Plan) -> dict[str, list[Any]]:
    return {"frame_offset": plan.frame_offset.tolist(), "time_offset": plan.time_offset.tolist()}


def _say_samples(plan: Plan) -> None:
    more = len(plan) > _LISTED
    for name, values in _samples(plan).items():
        say(f"{name:12}  {', '.join(map(str, values[:_LISTED]))}{' …' if more else ''}")
    say(f"{len(plan)} samples" + ("; --json lists them all" if more else ""))


def register(
    video: Annotated[str, typer.Argument(metavar="FILE|URL", help="A video file, or an https URL of one.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Put a video into the store, checked, and print its id."""
    from deployments.command_store import command_store
    from tasks.arrow_alone import load_arrow
    from tasks.videos import register_file, register_url

    load_arrow()
    store = command_store()
    is_url = video.startswith(("https://", "http://"))
    done = register_url(store, video) if is_url else register_file(store, Path(video).expanduser())
    if as_json:
        say_json(done.model_dump(mode="json"))
        return
    say(done.video_id)
    note(f"{done.file_name}, kept until {done.expires_at:%Y-%m-%d %H:%M} UTC")


def list_registered(*, as_json: JsonOption = False) -> None:
    """List the registered videos."""
    from deployments.command_store import command_store
    from tasks.videos import list_videos

    videos = sorted(list_videos(command_store()), key=lambda video: video.registered_at)
    if as_json:
        say_json([video.model_dump(mode="json") for video in videos])
        return
    say_table(("video id", "file", "size", "rate", "duration", "kept until"), map(_row, videos))


def _row(video: Video) -> tuple[object, ...]:
    facts = video.facts
    return (
        video.video_id,
        video.file_name,
        f"{facts.width}×{facts.height}",
        facts.rate,
        f"{facts.duration_s:.1f} s",
        f"{video.expires_at:%Y-%m-%d %H:%M}",
    )


def delete(
    video_id: Annotated[str, typer.Argument(metavar="VIDEO_ID")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete a video and its plans now, for good; results stay."""
    from deployments.command_store import command_store
    from tasks.videos import delete_video

    store = command_store()
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here; say --yes")
        typer.confirm(f"Delete video {video_id} for good?", abort=True)
    removed = delete_video(store, video_id)
    say(f"deleted {video_id} ({removed} objects)")


def sweep_cache() -> None:
    """Remove this machine's copies of videos that were deleted since; for machines that only run workers, hourly."""
    from deployments.command_store import command_store
    from tasks.settings import StoreSettings
    from tasks.video_cache import drop_unregistered_copies

    gone = drop_unregistered_copies(command_store(), StoreSettings().cache_dir.expanduser())
    say(f"removed {len(gone)} copies")
