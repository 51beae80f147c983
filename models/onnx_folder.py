"""A folder with a card and ONNX files: what it is for, which networks it holds, what its classes are called."""

from __future__ import annotations

from pathlib import Path

from models.class_lists import CLASS_LISTS
from models.onnx_card import CARD_FILE, GazeCard, OnnxCard, OnnxCardError, parse_card


def is_onnx_folder(folder: Path) -> bool:
    """Whether the folder's model runs on onnxruntime: it then has a card."""
    return (folder / CARD_FILE).is_file()


def read_card(folder: Path) -> OnnxCard | GazeCard:
    """Read the folder's card and see that the files it names are there. Raises `OnnxCardError`."""
    path = folder / CARD_FILE
    if not path.is_file():
        raise OnnxCardError(f"{folder} holds no {CARD_FILE}, which says what its ONNX file is for; write one.")
    try:
        card = parse_card(path.read_text("utf-8"))
    except UnicodeDecodeError:
        raise OnnxCardError(f"{CARD_FILE} is not UTF-8 text; save it as such.") from None
    for name in network_files(card, [path.name for path in folder.iterdir()]):
        if not (folder / name).is_file():
            raise OnnxCardError(f"{CARD_FILE} names {name}, which the model's folder does not hold; put it there.")
    if isinstance(card, OnnxCard):
        class_names(card, folder)
    return card


def network_files(card: OnnxCard | GazeCard, file_names: list[str]) -> tuple[str, ...]:
    """The networks that the card names, or the only one among the folder's files. Raises `OnnxCardError`."""
    if isinstance(card, GazeCard):
        return card.files
    if card.file is not None:
        return (card.file,)
    found = sorted(name for name in file_names if name.endswith(".onnx"))
    if len(found) != 1:
        told = f"{len(found)} of them ({', '.join(found)})" if found else "none"
        raise OnnxCardError(f"{CARD_FILE} names no file, and the folder holds {told}; say which with file: ….")
    return (found[0],)


def network_path(card: OnnxCard, folder: Path) -> Path:
    """Where the card's one network lies. Raises `OnnxCardError`."""
    (name,) = network_files(card, [path.name for path in folder.iterdir()])
    return folder / name


def class_names(card: OnnxCard, folder: Path) -> tuple[str, ...]:
    """The names of the classes; empty where the card gives none. Raises `OnnxCardError`."""
    if card.classes is None:
        return ()
    if not isinstance(card.classes, str):
        return tuple(card.classes)
    if card.classes in CLASS_LISTS:
        return CLASS_LISTS[card.classes]
    path = folder / Path(card.classes).name
    if path.name != card.classes or path.suffix != ".txt" or not path.is_file():
        raise OnnxCardError(
            f"{CARD_FILE}: classes: there is no .txt file {card.classes} in the model's folder; name one, write the "
            f"classes as a list, or take {' or '.join(CLASS_LISTS)}."
        )
    return tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
