"""Networks that put pictures and texts into one space: CLIP, SigLIP, SigLIP 2, MetaCLIP 2, AltCLIP, Chinese-CLIP.

No list of families decides how they are run: transformers gives each of them `get_image_features` and
`get_text_features`, and the folder brings its own processor and tokenizer. Knows nothing of elements.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from models.image_processors import LOAD_ERRORS, in_one_line
from models.transformers_loading import LoadedModel, architectures_of, checked, load_model, read_config
from models.vision_model import Frame, ModelLoadError, Precision

logger = logging.getLogger(__name__)

_TEXTS_AT_A_TIME = 64
_TOKENIZER = "tokenizer.json"
_ONLY_SEES = "VisionModelWithProjection"


@dataclass(frozen=True)
class ContrastiveNetwork:
    """A network on a device, ready to embed frames; texts too, where a tokenizer was loaded with it."""

    loaded: LoadedModel
    tokenizer: Any = None

    def embed(self, frames: Sequence[Frame]) -> NDArray[np.float32]:
        """Embed frames of one shape: `(n, size)` float32, not normalised.

        Raises what `models.transformers_loading.checked` raises.
        """
        inputs = self.loaded.preprocess(frames)
        network = self.loaded.network
        with torch.inference_mode():
            if hasattr(network, "get_image_features"):
                return _numbers(network.get_image_features(**inputs))
            return _numbers(network(**inputs).image_embeds)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts: `(n, size)` float32, not normalised. Raises as `embed` does.

        What a text has beyond the tokens that the network takes is not read, which is logged.
        """
        parts = [texts[start : start + _TEXTS_AT_A_TIME] for start in range(0, len(texts), _TEXTS_AT_A_TIME)]
        with torch.inference_mode():
            return np.concatenate(
                [_numbers(self.loaded.network.get_text_features(**self._tokens(part))) for part in parts]
            )

    def logits(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network itself makes of cosines of frames and texts: its scale times each, plus its bias if any."""
        network = self.loaded.network
        scale = float(network.logit_scale.detach().float().exp())
        bias = float(network.logit_bias.detach().float()) if hasattr(network, "logit_bias") else 0.0
        return (cosines * np.float32(scale) + np.float32(bias)).astype(np.float32)

    def _tokens(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Token numbers as the network's family wants them.

        SigLIP and its successor read the last position, and were trained with every text padded to all positions;
        the others are told by a mask, or find the text's end, and need no more than the longest text.
        """
        network, tokenizer = self.loaded.network, self.tokenizer
        most = min(_positions(network.config.text_config), tokenizer.model_max_length)
        for text in texts:
            if len(tokenizer(text, verbose=False)["input_ids"]) > most:
                logger.warning("the model reads %d tokens of a prompt; it does not see the end of %.60r…", most, text)
        pads_all = str(network.config.model_type).startswith("siglip")
        tokens = tokenizer(
            list(texts),
            padding="max_length" if pads_all else True,
            truncation=True,
            max_length=most,
            return_tensors="pt",
        )
        taken = inspect.signature(network.get_text_features).parameters
        return {name: value.to(network.device) for name, value in tokens.items() if name in taken}


def load_contrastive(
    folder: Path, *, inference_type: str, device: str, precision: Precision, with_texts: bool
) -> ContrastiveNetwork:
    """Load the network of `folder` onto `device`, and its tokenizer where texts are to be embedded.

    Raises `ModelLoadError`.
    """
    loaded = load_model(
        folder, inference_type=inference_type, auto_class=_class_for(folder), device=device, precision=precision
    )
    return ContrastiveNetwork(loaded, load_tokenizer(folder) if with_texts else None)


def load_tokenizer(folder: Path) -> Any:
    """Load the folder's tokenizer; never one that brings code. Raises `ModelLoadError`.

    Some classes ask for the package sentencepiece. The same tokenizer mostly lies in tokenizer.json too, which needs
    no class of its own.
    """
    try:
        tokenizer = _from_folder(transformers.AutoTokenizer, folder)
    except ImportError as error:
        if not (folder / _TOKENIZER).is_file():
            raise _no_tokenizer(error) from error
        try:
            tokenizer = _from_folder(transformers.PreTrainedTokenizerFast, folder)
        except LOAD_ERRORS as second:
            raise _no_tokenizer(second) from second
    except LOAD_ERRORS as error:
        raise _no_tokenizer(error) from error
    if not any((folder / name).is_file() for name in (_TOKENIZER, *tokenizer.vocab_files_names.values())):
        raise _no_tokenizer("the folder holds no vocabulary")  # transformers makes one without words, silently
    return tokenizer


def _no_tokenizer(reason: BaseException | str) -> ModelLoadError:
    said = reason if isinstance(reason, str) else in_one_line(reason)
    return ModelLoadError(f"the tokenizer cannot be loaded ({said}); put its tokenizer.json beside the weights.")


def _from_folder(tokenizer_class: Any, folder: Path) -> Any:
    return tokenizer_class.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def _class_for(folder: Path) -> str:
    """`AutoModel` knows every family as a whole; half of one that only sees goes by its own class's name."""
    names = architectures_of(read_config(folder))
    return next((name for name in names if name.endswith(_ONLY_SEES)), "AutoModel")


def _positions(text_config: Any) -> int:
    """How many tokens the text tower takes; a RoBERTa leaves the positions up to its padding's number unused."""
    positions = int(text_config.max_position_embeddings)
    return positions - int(text_config.pad_token_id) - 1 if text_config.model_type.startswith("altclip") else positions


def _numbers(features: Any) -> NDArray[np.float32]:
    """A tower's output as float32: the pooled one, where transformers wraps it."""
    tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    numbers: NDArray[np.float32] = checked({"pooler_output": tensor})["pooler_output"].cpu().numpy()
    return numbers
