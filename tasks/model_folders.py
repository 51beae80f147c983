"""What a folder of a model's files holds, and what of it is taken: read and hashed before it goes anywhere.

A folder is transformers' (config.json and safetensors), or one with a card (reelmill.yaml and ONNX files).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from models.errors import PermanentError
from models.onnx_card import CARD_FILE, OnnxCardError, parse_card
from models.onnx_folder import is_onnx_folder, network_files, read_card

MANIFEST = "reelmill-model.json"
_TAKEN_SUFFIXES = {".json", ".safetensors", ".txt", ".model", ".onnx", ".onnx_data", ".data"}
_TAKEN_NAMES = {CARD_FILE}
_SAFETENSORS, _ONNX = ".safetensors", ".onnx"
_PICKLED_SUFFIXES = {".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".pkl"}


class ModelFolderError(PermanentError):
    """The folder does not hold a model that can be run."""


class ModelFile(BaseModel):
    """One file of a model."""

    model_config = ConfigDict(frozen=True)

    name: str
    size_bytes: int
    sha256: str


class ModelManifest(BaseModel):
    """What a model's folder holds; in the store, its existence means that all of it is there."""

    model_config = ConfigDict(frozen=True)

    folder_name: str
    architectures: tuple[str, ...]
    """Of config.json; empty where a card says what the model is for."""
    inference_type: str | None = None
    """What the model's card says it is for."""
    files: tuple[ModelFile, ...]

    @property
    def folder_hash(self) -> str:
        """sha256 over the names and hashes of the files, in the order of the names."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.name}\0{file.sha256}\n".encode())
        return digest.hexdigest()


def describe_folder(folder: Path) -> ModelManifest:
    """Read and hash what of a folder is a model's. Raises `ModelFolderError`, and `OnnxCardError` for its card."""
    if not folder.is_dir():
        raise ModelFolderError(f"there is no folder {folder}; give one that holds config.json and model.safetensors.")
    if is_onnx_folder(folder):
        return _manifest(folder, (), read_card(folder).inference_type)
    config = folder / "config.json"
    if _only_onnx([path.name for path in _files(folder)]):
        raise _no_card(folder.name)
    if not config.is_file():
        raise ModelFolderError(f"{folder} holds no config.json; give the folder that save_pretrained wrote.")
    check_weights(folder.name, [path.name for path in _files(folder)])
    return _manifest(folder, read_architectures(config.read_bytes(), str(config)), None)


def card_type(name: str, card: str, file_names: list[str]) -> str:
    """What the text of a card says the model called `name` is for; its networks must be among `file_names`.

    Raises `OnnxCardError`.
    """
    read = parse_card(card)
    for network in network_files(read, file_names):
        if network not in file_names:
            raise OnnxCardError(f"{CARD_FILE} names {network}, which {name} does not hold; take another model.")
    return read.inference_type


def check_weights(name: str, file_names: list[str]) -> None:
    """Refuse a model of transformers without weights, or with pickled ones only. Raises `ModelFolderError`."""
    suffixes = _suffixes(file_names)
    if _SAFETENSORS in suffixes:
        return
    if _ONNX in suffixes:
        raise _no_card(name)
    if suffixes & _PICKLED_SUFFIXES:
        raise ModelFolderError(
            f"{name} has its weights only in a format that can run code when it is read; load it with transformers "
            "where you trust it and call save_pretrained, which writes model.safetensors."
        )
    raise ModelFolderError(f"{name} holds no weights; give a model with model.safetensors.")


def read_architectures(config: bytes, origin: str) -> tuple[str, ...]:
    """`architectures` of a config.json. Raises `ModelFolderError` where it is no JSON object."""
    try:
        content = json.loads(config)
        return tuple(str(name) for name in content.get("architectures") or ())
    except (ValueError, AttributeError):
        raise ModelFolderError(f"{origin} is not the JSON of a model's configuration; save the model again.") from None


def file_stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size in bytes and time of change of each file that would be taken; empty where there is no folder."""
    if not folder.is_dir():
        return []
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in _files(folder) if _is_taken(path)]


def sha256_of(path: Path) -> str:
    """The file's sha256, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(folder: Path, architectures: tuple[str, ...], inference_type: str | None) -> ModelManifest:
    return ModelManifest(
        folder_name=folder.name,
        architectures=architectures,
        inference_type=inference_type,
        files=tuple(
            ModelFile(name=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path))
            for path in _files(folder)
            if _is_taken(path)
        ),
    )


def _suffixes(file_names: list[str]) -> set[str]:
    return {Path(file_name).suffix for file_name in file_names if "/" not in file_name}


def _only_onnx(file_names: list[str]) -> bool:
    suffixes = _suffixes(file_names)
    return _ONNX in suffixes and _SAFETENSORS not in suffixes


def _no_card(name: str) -> ModelFolderError:
    return ModelFolderError(
        f"{name} has ONNX weights but no {CARD_FILE}, which says what its network is for and how it is read; write one."
    )


def _files(folder: Path) -> list[Path]:
    """The files that lie in the folder, links followed (the hub's cache holds nothing else), sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _is_taken(path: Path) -> bool:
    return (path.suffix in _TAKEN_SUFFIXES or path.name in _TAKEN_NAMES) and path.name != MANIFEST
