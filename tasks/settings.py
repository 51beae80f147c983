"""One settings class for each concern, read from the environment when made, never at import."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.vision_model import Precision


class StoreSettings(BaseSettings):
    """Where videos, shards and results live."""

    model_config = SettingsConfigDict(env_prefix="REELMILL_")

    store: str = "~/.reelmill/store"
    """A local directory, or `s3://bucket/prefix`. Credentials come from the usual AWS variables."""
    store_patience_s: float = Field(default=1800.0, ge=0)
    """A running job waits so long for a store that cannot be reached, or is full, before it gives up."""
    cache_dir: Path = Path("~/.reelmill/cache")
    """Local copies of videos and model folders that come from an S3 store or the hub."""
    video_cache_bytes: int = Field(default=100 * 2**30, gt=0)
    """Local copies of videos beyond this go, the longest unused first, but none that was used within the hour."""


class S3Settings(BaseSettings):
    """How an S3 store is reached."""

    model_config = SettingsConfigDict(env_prefix="REELMILL_S3_")

    endpoint_url: str | None = None
    """Any S3-compatible server; AWS itself when unset."""
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    """`path` for most self-hosted servers, `virtual` for AWS."""
    max_attempts: int = Field(default=5, ge=1)
    """Tries of one request before a store error is reported."""
    timeout_s: float = Field(default=20.0, gt=0)
    """Seconds to wait for a connection or an answer."""
    part_bytes: int = Field(default=32 * 2**20, ge=5 * 2**20, le=5 * 2**30)
    """Larger files travel in parts of this size, several at a time."""
    copy_whole_bytes: int = Field(default=5 * 2**30, ge=5 * 2**20, le=5 * 2**30)
    """Objects of this size and above are copied in parts; 5 GiB is the most that S3 copies at once."""
    result_link_expires_s: int = Field(default=3600, ge=1, le=7 * 24 * 3600)
    """How long a link to a result may be used."""


class UploadSettings(BaseSettings):
    """What may be registered."""

    model_config = SettingsConfigDict(env_prefix="REELMILL_UPLOAD_")

    max_video_bytes: int = Field(default=50 * 2**30, gt=0)
    """Larger files are refused, while a URL streams too."""
    allow_http: bool = False
    """Take plain http URLs as well as https."""
    allow_private_hosts: bool = False
    """Take URLs whose host is private, loopback or link-local. Leave off wherever others can submit."""
    timeout_s: float = Field(default=30.0, gt=0)
    """Seconds to wait for a connection or the next bytes of a URL."""
    keep_days: float = Field(default=7.0, gt=0)
    """Days from registration until a video is deleted."""
    max_download_s: float = Field(default=4 * 3600.0, gt=0)
    """A URL that takes longer than this to give its bytes is given up."""
    hold_days: float = Field(default=1.0, ge=0)
    """Days past its expiry that unfinished jobs may hold a video; after that nothing holds it."""
    incoming_days: float = Field(default=1.0, gt=0)
    """Days until an upload that nobody registered is deleted."""
    local_dir: Path | None = None
    """Folder of the worker whose files the flow `register-upload` may take by path; none when unset."""
    put_expires_s: int = Field(default=3600, ge=1, le=7 * 24 * 3600)
    """How long a presigned PUT may be used."""
    parts_above_bytes: int = Field(default=5 * 10**9, gt=0, le=5 * 2**30)
    """Larger files are PUT in parts; S3 takes no more at once."""
    part_bytes: int = Field(default=256 * 2**20, ge=5 * 2**20, le=5 * 2**30)
    """Size of such a part; more where a file would have above 10,000 of them."""
    parts_expire_s: int = Field(default=12 * 3600, ge=1, le=7 * 24 * 3600)
    """How long the presigned PUTs of parts may be used."""

    @model_validator(mode="after")
    def _links_end_before_their_uploads(self) -> Self:
        if max(self.put_expires_s, self.parts_expire_s) > self.incoming_days * 86400:
            raise ValueError(
                "an upload's links may be used for longer than the upload is kept; lower REELMILL_UPLOAD_PUT_EXPIRES_S "
                "and REELMILL_UPLOAD_PARTS_EXPIRE_S, or raise REELMILL_UPLOAD_INCOMING_DAYS"
            )
        return self


class RetentionSettings(BaseSettings):
    """How long what jobs leave is kept; videos have their own days (`UploadSettings`)."""

    model_config = SettingsConfigDict(env_prefix="REELMILL_RETENTION_")

    shards_days: float = Field(default=14.0, gt=0)
    """Days from the last job that could use a shard until it is deleted; it costs its inference again."""
    results_days: float | None = Field(default=None, gt=0)
    """Days from the last job that gave a result until it is deleted, with the jobs' records, the requests remembered by
    key and the states of backfills; kept until somebody deletes them when unset, for results are what was paid for."""
    jobs_days: float = Field(default=30.0, gt=0)
    """Days until the records of a job that left no result are deleted."""

    @model_validator(mode="after")
    def _records_outlive_shards(self) -> Self:
        if self.jobs_days < self.shards_days or (self.results_days or self.shards_days) < self.shards_days:
            raise ValueError(
                "shards would outlive the jobs' records, which say when they were last used; lower "
                "REELMILL_RETENTION_SHARDS_DAYS, or raise REELMILL_RETENTION_JOBS_DAYS and _RESULTS_DAYS"
            )
        return self


class WebhookSettings(BaseSettings):
    """How callers are told that their jobs have ended."""

    model_config = SettingsConfigDict(env_prefix="REELMILL_WEBHOOK_")

    secret: SecretStr | None = None
    """Messages are signed with it, so that their receivers can tell them from others'; no webhook without it."""
    tries: int = Field(default=5, ge=1, le=20)
    """Times that a message is sent until its receiver takes it."""
    wait_s: float = Field(default=1.0, gt=0)
    """Seconds between the first and the second try, doubled before each next one."""
    timeout_s: float = Field(default=10.0, gt=0)
    """Seconds to wait for a connection or an answer."""


class DecodeSettings(BaseSettings):
    """How many decode workers there are, and their limits."""

    model_config = SettingsConfigDict(env_prefix="REELMILL_DECODE_")

    max_pixels: int = Field(default=8192 * 4352, gt=0)
    """Frames with more pixels than this are refused before they are allocated."""
    stall_timeout_s: float = Field(default=120.0, gt=0)
    """A decode worker that says nothing for so long is ended and its segment tried once more."""
    memory_limit_bytes: int = Field(default=8 * 2**30, gt=0)
    """Address space of one decode worker."""
    workers: int = Field(default=0, ge=0)
    """Workers that decode at the same time at most, started while models wait for frames; 0 is one for each core, less
    one where models run on a GPU."""
    segment_s: float = Field(default=120.0, gt=0)
    """Wanted length of a segment; segments end at keyframes."""
    segment_samples: int = Field(default=2000, ge=1)
    """A segment holds at most about so many samples."""


class InferenceSettings(BaseSettings):
    """How models run."""

    model_config = SettingsConfigDict(env_prefix="REELMILL_")

    device: str = "auto"
    """`auto` is `cuda` where there is one, else `cpu`; or a torch device such as `cuda:1`."""
    batch_size: int = Field(default=0, ge=0)
    """Frames that go through a model together; 0 is 8, and on a GPU as many as pay, found by trial."""
    frame_memory_bytes: int = Field(default=2**30, gt=0)
    """Decoded frames that wait or are worked on hold about this much at most; large ones make batches smaller."""
    deterministic: bool = False
    """Keep batches inside a segment, so that a recomputed shard equals the first."""
    precision: Precision = "auto"
    """Used where a catalog entry names none."""
    lanes: int = Field(default=0, ge=0)
    """Batches of one model worked on at the same time; 0 is one for each core of a CPU, 8 at most, and two on a GPU."""
    gpu_lock: str | None = None
    """Name of the lock that a served GPU run holds on this machine; unset, that of its GPU, and none on a CPU."""
    torch_threads: int = Field(default=0, ge=0)
    """Threads of torch in each lane; 0 shares the cores out."""


class BackfillSettings(BaseSettings):
    """How many videos of a backfill go together."""

    model_config = SettingsConfigDict(env_prefix="REELMILL_BACKFILL_")

    pack_samples: int = Field(default=5000, ge=1)
    """Short videos share a GPU run until they have about so many samples; a longer video has one of its own."""
    pack_videos: int = Field(default=100, ge=1, le=1000)
    """Videos that share a GPU run at most."""
    pack_wait_s: float = Field(default=20.0, ge=0)
    """While no GPU run is in flight, a pack that isn't full waits no longer for more videos."""
    threads: int = Field(default=4, ge=1)
    """Videos that are registered and planned at the same time."""
    save_s: float = Field(default=5.0, gt=0)
    """Seconds between two writings of the table."""


class JobSettings(BaseSettings):
    """How a job is watched."""

    model_config = SettingsConfigDict(env_prefix="REELMILL_JOB_")

    dispatch: str = Field(default="deployment", pattern="^(deployment|inline)$")
    """`deployment` starts `infer-segments` on GPU pools; `inline` runs it in the same process (embedded)."""
    model_dir: Path | None = None
    """Folder of the worker whose models a served request may name by path; none when unset. Embedded jobs take any."""
    gpu_pool: str = "gpu"
    """The pool of models that name none."""
    poll_s: float = Field(default=2.0, gt=0)
    """Seconds between looks at the GPU runs."""
    stall_timeout_s: float = Field(default=600.0, gt=0)
    """A RUNNING GPU run without a new heartbeat for so long is cancelled and its missing segments started again."""
    max_attempts: int = Field(default=3, ge=1)
    """Times a GPU run is started for the same segments."""
    lease_s: float = Field(default=90.0, gt=0)
    """A job that has not renewed its lease for so long is taken to be dead: its GPU runs end, it holds its video no
    longer, and `sweep-jobs` starts it again."""
    scratch_dir: Path = Path(tempfile.gettempdir())
    """Where results are put together before they go into the store."""
