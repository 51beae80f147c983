"""A byte-level CLIP tokenizer that knows the captions' words whole and spells every other text in bytes."""

from __future__ import annotations

from typing import Any

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tests.smallworld.scenes import COLOURS
from tests.smallworld.shapes import SHAPES

WORDS = ("a", "and", *COLOURS, *SHAPES)
POSITIONS = 16
_START, _END = "<|startoftext|>", "<|endoftext|>"


def make_tokenizer() -> Any:
    """Built from nothing but the words: every byte, every byte at a word's end, and the merges that spell the words."""
    characters = list(bytes_to_unicode().values())
    vocabulary = [*characters, *(f"{character}</w>" for character in characters)]
    merges: list[tuple[str, str]] = []
    for word in sorted(WORDS, key=len, reverse=True):  # so that no short word splits a longer one
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            pair = parts[0], parts[1]
            parts[:2] = ["".join(pair)]
            if pair not in merges:
                merges.append(pair)
                vocabulary.append(parts[0])
    vocabulary += [_START, _END]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(vocabulary)},
        merges=merges,
        bos_token=_START,
        eos_token=_END,
        unk_token=_END,
        pad_token=_END,
        model_max_length=POSITIONS,
    )
