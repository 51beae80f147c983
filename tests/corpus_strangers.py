"""The corpus's files that are no video, whatever they are called, and playlists that would open other files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.corpus_entry import CorpusFile, Frames, Refused, video
from tests.video_files import make_audio_only, make_no_video, make_video

_NOT_A_VIDEO = Refused("NotAVideoError", "video.mp4 is not a video; give an mp4, mkv, webm or avi file.")
_SOUND = Refused("NoVideoStreamError", "video.mp4 has sound but no video; give a file with a video stream.")


def _text(words: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(words.replace("\n", "\r\n"))


def _beside_a_video(words: str) -> Callable[[Path], object]:
    """A text that names a real video, which lies beside it."""

    def make(path: Path) -> None:
        other = make_video(path.with_name("other.mp4"), frames=5)
        path.write_text(words.format(path=other, name=other.name))

    return make


_HTML = (
    "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>\n<video src='other.mp4'></video></body></html>\n"
)
_HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{name}\n#EXT-X-ENDLIST\n"
_CONCAT = "ffconcat version 1.0\nfile '{path}'\n"
_DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"
 profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4">
<Representation id="1" bandwidth="1000" codecs="avc1.64000a"><BaseURL>{name}</BaseURL></Representation>
</AdaptationSet></Period></MPD>
"""
_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=video
c=IN IP4 127.0.0.1
t=0 0
m=video 5004 RTP/AVP 96
a=rtpmap:96 H264/90000
"""


def _no_video(kind: str) -> Callable[[Path], object]:
    return lambda path: make_no_video(path.parent, kind)


STRANGERS = [
    CorpusFile(
        "zero bytes", _no_video("empty"), Refused("NotAVideoError", "video.mp4 is empty (0 bytes); upload it again.")
    ),
    *(
        CorpusFile(f"{kind} renamed .mp4", _no_video(kind), _NOT_A_VIDEO)
        for kind in ("text", "zip", "picture", "sound")
    ),
    CorpusFile("html renamed .mp4", _text(_HTML), _NOT_A_VIDEO),
    CorpusFile("playlist renamed .mp4: HLS", _beside_a_video(_HLS), _NOT_A_VIDEO),
    CorpusFile("playlist renamed .mp4: ffconcat", _beside_a_video(_CONCAT), _NOT_A_VIDEO),
    CorpusFile("playlist renamed .mp4: DASH", _beside_a_video(_DASH), _NOT_A_VIDEO),
    CorpusFile("playlist renamed .mp4: SDP", _text(_SDP), _NOT_A_VIDEO),
    CorpusFile("noise renamed .mp4", lambda path: path.write_bytes(os.urandom(50_000)), _NOT_A_VIDEO),
    CorpusFile("nothing but zeroes renamed .mp4", lambda path: path.write_bytes(bytes(50_000)), _NOT_A_VIDEO),
    CorpusFile("audio only", make_audio_only, _SOUND),
    CorpusFile(
        "audio only, mkv",
        make_audio_only,
        Refused("NoVideoStreamError", "video.mkv has sound but no video; give a file with a video stream."),
        "video.mkv",
    ),
    CorpusFile(
        "cover art only",
        lambda path: make_audio_only(path, cover=True),
        Refused(
            "NoVideoStreamError",
            "video.mp4 has sound and a cover picture but no video; give a file with a video stream.",
        ),
    ),
    CorpusFile(
        "wrong extension: mkv named .mp4",
        lambda path: _renamed(path, ".mkv"),
        Frames(facts={"container": "mkv"}),
    ),
    CorpusFile(
        "wrong extension: mp4 named .avi",
        lambda path: _renamed(path, ".mp4"),
        Frames(facts={"container": "mp4"}),
        "video.avi",
    ),
]


def _renamed(path: Path, extension: str) -> None:
    made = path.with_suffix(f".made{extension}")
    video(b_frames=2)(made)
    made.rename(path)
