"""The CLIP baseline: the image tower of a pretrained CLIP on true-colour windows, zero-shot or under a linear probe."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .. import __version__
from ..devices import pick_device
from ..errors import OptionError
from ..images import Image
from ..prompts import PROMPTS, class_prompts, load_texts
from ..tensorfiles import file_hash, load_facts, load_tensors, save_tensors
from ..text_weights import clip_text_embeddings
from ..windows import WindowSource
from .cases import Images, Int, Shots
from .peers import sklearn
from .protocol import Prediction

Float = NDArray[np.float32]

WINDOW = 11  # pixels, as of both presets
TRUE_COLOUR = (665.0, 560.0, 490.0)  # nm: red, green, blue
# Wavelength of the first band and spacing of the visible ones, in nm, of scenes whose files hold none; by number of
# bands too, so that another image of the same name is not taken for them.
VISIBLE = {
    ("berlin_hymap", 111): (455.0, 15.0),
    ("houston_campus", 48): (380.0, 14.3),
    ("idtrees_mlbs", 369): (383.0, 5.0),
    ("houston2013", 144): (364.0, 4.77),
    ("trento", 63): (402.9, 9.46),
    ("muufl", 64): (405.0, 9.5),
}
_FRACTIONS = (0.6, 0.4, 0.2)  # of the bands, for red, green and blue of other scenes, as in quicklooks
_BATCH = 64
_KEPT_EVERY = 4096  # windows, between two writes of the cache
# Of the linear probe. CLIP's authors use 0.316 on vectors of length 10 or so, which is 100 times as much on unit ones.
_INVERSE_PENALTY = 30.0
_SCALE = 100.0  # of cosines, where the file does not tell: what CLIP's training ends with
_REMEDY = "give the state dict of an OpenAI or open_clip CLIP model, saved by safetensors"
_NAME_IT = "name its open_clip model with --clip-model, e.g. ViT-B-32"
_OPENAI = {"input_resolution", "context_length", "vocab_size"}  # buffers that OpenAI's own state dicts carry


@dataclass(frozen=True)
class ClipFile:
    """A CLIP model in a file of weights; `vision` are the settings of its image tower by open_clip's names."""

    path: Path
    embedding: int  # length of the vectors
    vision: Mapping[str, Any]
    quick: bool  # QuickGELU instead of GELU

    @classmethod
    def open(cls, path: Path, model: str | None = None) -> ClipFile:
        """Read the header of a .safetensors file.

        The image tower is the one of the open_clip model called `model`; without a name it is a vision transformer
        whose sizes are those of its tensors. The activation is told as for the text tower, see
        `clip_text_embeddings`. Raises OptionError.
        """
        shapes = _shapes(path)
        quick = any(word in path.name.casefold() for word in ("openai", "quickgelu")) or shapes.keys() >= _OPENAI
        tower = _tower(shapes)
        if not tower:
            raise OptionError(path, "holds no CLIP image tower (no visual.…)", _REMEDY)
        if model is None:
            try:
                embedding, vision = _vision_transformer(tower)
            except (KeyError, ValueError, IndexError) as error:
                raise OptionError(path, "has an image tower that is no plain vision transformer", _NAME_IT) from error
            return cls(path, embedding, vision, quick)
        config = _config(model)
        if config.get("quick_gelu") and not quick:
            fault = f"has another activation than the open_clip model {model}"
            raise OptionError(path, fault, "put quickgelu into the name of the file, or name another model")
        return cls(path, config["embed_dim"], config["vision_cfg"], quick)

    def tower(self) -> nn.Module:
        """The image tower, on the CPU: float32 images `[B, 3, S, S]` → vectors `[B, D]`. Raises OptionError."""
        from open_clip.model import CLIP

        text = {"layers": 1, "width": 64, "heads": 1, "vocab_size": 1}  # in its place: not used
        # Towers of timm compute some of their constants when they are built, which needs a real device.
        place = "cpu" if "timm_model_name" in self.vision else "meta"
        with safe_open(str(self.path), "pt") as file:
            tensors = _tower({name: file.get_tensor(name) for name in file.keys() if "visual." in name})  # noqa: SIM118
        try:
            with torch.device(place):
                tower: nn.Module = CLIP(self.embedding, dict(self.vision), text, quick_gelu=self.quick).visual
            tower.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
        except (KeyError, TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise OptionError(self.path, "has an image tower of another layout", _NAME_IT) from error
        return tower.eval().requires_grad_(False)

    def scale(self) -> float:
        """What the cosines of image and text are multiplied by before the softmax."""
        with safe_open(str(self.path), "pt") as file:
            for name in ("logit_scale", "module.logit_scale"):
                if name in file.keys():  # noqa: SIM118
                    return exp(float(file.get_tensor(name)))
        return _SCALE


@dataclass(frozen=True)
class ClipMethod:
    """Vectors of windows by a CLIP model, classified by texts (`zero_shot`) or by logistic regression on the shots."""

    name: str
    description: str
    zero_shot: bool
    source: ClipFile | None = None
    device: str = "cpu"

    def prepare(self, images: Images, cache: Path | None) -> PreparedClip:
        """Compose the images in true colour; vectors of pixels are computed when they are asked for."""
        source, started = self.model(), time.perf_counter()
        texts = text_classifier(source, images.classes) if self.zero_shot else None
        embeddings = Embeddings(source, images, cache, self.device)
        return PreparedClip(images.classes, embeddings, texts, time.perf_counter() - started)

    def model(self) -> ClipFile:
        """The CLIP model. Raises OptionError when none was named."""
        if self.source is None:
            remedy = "name a .safetensors file with --clip-weights"
            raise OptionError(f"method {self.name!r}", "needs a CLIP model", remedy)
        return self.source


@dataclass(frozen=True)
class PreparedClip:
    """A scene whose windows CLIP can see, and, zero-shot, the class texts as a classifier."""

    classes: tuple[str, ...]
    embeddings: Embeddings
    texts: Float | None
    composed: float  # seconds, without the vectors

    @property
    def seconds(self) -> float:
        """Time that preparation and vectors took, these now or when they were put into the cache."""
        return self.composed + self.embeddings.seconds

    def embed(self, pixels: Int) -> None:
        """Compute the vectors of these pixels ahead of their use; each depends on the window of its pixel alone."""
        self.embeddings.add(pixels)

    def fit(self, shots: Shots, seed: int) -> FittedClip:
        """Zero-shot there is nothing to learn, and every class is known; the probe has no use for the seed."""
        if self.texts is not None:
            known = np.arange(1, len(self.classes) + 1)
            return FittedClip(self, known, self.texts, np.zeros(len(known), np.float32))
        probe = sklearn("sklearn.linear_model").LogisticRegression(C=_INVERSE_PENALTY, max_iter=1000)
        probe.fit(self.embeddings.at(shots.index), shots.label)
        weight, bias = (np.asarray(one, np.float32) for one in (probe.coef_, probe.intercept_))
        if len(probe.classes_) == 2:  # scikit-learn gives the second of two classes only
            weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
        return FittedClip(self, probe.classes_, weight, bias)


@dataclass(frozen=True)
class FittedClip:
    """A linear classifier of vectors: `weight` `[known, D]`, `bias` `[known]`, classes `known` of 1…K."""

    prepared: PreparedClip
    known: Int
    weight: Float
    bias: Float

    def predict(self, pixels: Int) -> Prediction:
        """Classes and probabilities (softmax)."""
        logits = self.prepared.embeddings.at(pixels) @ self.weight.T + self.bias
        share = np.exp(logits - logits.max(1, keepdims=True))
        probability = np.zeros((len(pixels), len(self.prepared.classes)), np.float32)
        probability[:, self.known - 1] = share / share.sum(1, keepdims=True)
        score = probability[:, 1] if len(self.prepared.classes) == 2 else None
        return Prediction(probability.argmax(1) + 1, probability, score)

    def state(self) -> dict[str, Any]:
        """The linear classifier."""
        return {"known": self.known, "weight": self.weight, "bias": self.bias}


class Embeddings:
    """Unit vectors of the windows of one scene by one image tower, each computed once and kept in the cache folder."""

    def __init__(self, source: ClipFile, images: Images, cache: Path | None, device: str) -> None:
        self._source, self._device = source, device
        bands = colour_bands(images.name, len(images.blocks[0].hsi))
        pictures = true_colour(images, bands)
        self._windows = WindowSource([_padded(*pair) for pair in pictures], WINDOW)
        # Windows are numbered over valid pixels, pixels of a case over all.
        self._number = np.cumsum(np.concatenate([valid.ravel() for _, valid in pictures])) - 1
        self._tower: nn.Module | None = None
        self._index = np.zeros(0, np.int64)  # pixels whose vectors are known, ascending
        self._vectors = np.zeros((0, source.embedding), np.float32)
        self.seconds = 0.0
        self._file = None if cache is None else cache / f"{images.name}-clip-{self._key(images, bands)}.safetensors"
        if self._file is not None and self._file.exists():
            tensors = load_tensors(self._file)
            self._index, self._vectors = tensors["index"].numpy(), tensors["vectors"].numpy()
            self.seconds = float(load_facts(self._file)["seconds"])

    def at(self, pixels: Int) -> Float:
        """Vectors of these pixels, float32 `[N, D]`."""
        self.add(pixels)
        return self._vectors[np.searchsorted(self._index, pixels)]

    def add(self, pixels: Int) -> None:
        """Compute the vectors of those of the pixels that have none yet."""
        missing = np.setdiff1d(pixels, self._index)
        for start in range(0, len(missing), _KEPT_EVERY):
            started = time.perf_counter()
            some = missing[start : start + _KEPT_EVERY]
            index, vectors = np.concatenate([self._index, some]), np.concatenate([self._vectors, self._computed(some)])
            order = index.argsort()
            self._index, self._vectors = index[order], vectors[order]
            self.seconds += time.perf_counter() - started
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                tensors = {"index": torch.from_numpy(self._index), "vectors": torch.from_numpy(self._vectors)}
                save_tensors(self._file, tensors, {"seconds": self.seconds})

    def _computed(self, pixels: Int) -> Float:
        device = pick_device(self._device)
        if self._tower is None:
            self._tower = self._source.tower().to(device)
        tower: Any = self._tower
        with torch.inference_mode():
            parts = [
                F.normalize(tower(clip_input(self._gathered(some), tower.image_size, device)), dim=-1).cpu()
                for some in torch.from_numpy(self._number[pixels]).split(_BATCH)
            ]
        found: Float = torch.cat(parts).numpy()
        return found

    def _gathered(self, numbers: Tensor) -> Tensor:
        """Windows `[B, 3, 11, 11]`, 0…255."""
        (cells,) = self._windows.gather(numbers)
        return cells.view(-1, WINDOW, WINDOW, 3).permute(0, 3, 1, 2)

    def _key(self, images: Images, bands: tuple[int, ...]) -> str:
        facts = {
            "scene": images.digest,
            "bands": bands,
            "weights": file_hash(self._source.path),
            "tower": [dict(self._source.vision), self._source.quick],
            "version": __version__,
            "device": self._device,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def text_classifier(source: ClipFile, classes: tuple[str, ...]) -> Float:
    """Scaled unit vectors of the classes, float32 `[K, D]`: the mean of those of prompts p1 … p5, as CLIP's own
    zero-shot classifiers are means over prompts. Raises OptionError.
    """
    texts = [text for prompt in PROMPTS for text in class_prompts(classes, prompt, load_texts())]
    vectors = clip_text_embeddings(source.path, texts).view(len(PROMPTS), len(classes), -1).mean(0)
    scaled: Float = (source.scale() * F.normalize(vectors, dim=-1)).numpy()
    return scaled


def colour_bands(name: str, bands: int) -> tuple[int, ...]:
    """Red, green and blue among the `bands` of a scene, from 0: those nearest to 665, 560 and 490 nm where the
    wavelengths are known (`VISIBLE`), else those at 60, 40 and 20 % of the bands.
    """
    if (name, bands) in VISIBLE:
        first, step = VISIBLE[name, bands]
        return tuple(round((wanted - first) / step) for wanted in TRUE_COLOUR)
    return tuple(int(part * (bands - 1)) for part in _FRACTIONS)


def true_colour(images: Images, bands: tuple[int, ...]) -> list[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Each image as a picture `[h, w, 3]` of three bands and its validity `[h, w]`.

    A band is stretched from its 2nd to its 98th percentile over the valid pixels of all images.
    """
    chosen = [block.hsi[list(bands)].transpose(1, 2, 0) for block in images.blocks]
    valid = [block.valid for block in images.blocks]
    pixels = np.concatenate([image[mask] for image, mask in zip(chosen, valid, strict=True)])
    low, high = np.percentile(pixels, (2, 98), axis=0)
    stretched = [255 * np.clip((image - low) / np.maximum(high - low, 1e-12), 0, 1) for image in chosen]
    return [(image.round().astype(np.uint8), mask) for image, mask in zip(stretched, valid, strict=True)]


def clip_input(windows: Tensor, size: tuple[int, int], device: torch.device) -> Tensor:
    """Windows `[B, 3, h, w]` of 0…255 as CLIP takes pictures, float32 `[B, 3, *size]`: resized as PIL's bicubic filter
    does it, by which CLIP's own pictures were made, and standardised by the mean and spread of those.
    """
    from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    mean, spread = (
        torch.tensor(one, device=device)[:, None, None] for one in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    )
    pictures = F.interpolate(windows.to(device, torch.float32), size, mode="bicubic", antialias=True)
    return (pictures.clamp(0, 255) / 255 - mean) / spread


def _padded(picture: NDArray[np.uint8], valid: NDArray[np.bool_]) -> Image:
    margin = WINDOW // 2
    around = (margin, margin)
    pixels = np.pad(picture, (around, around, (0, 0)))
    return Image((torch.from_numpy(pixels),), torch.from_numpy(np.pad(valid, (around, around))), margin)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of a file, none of which is read."""
    if not path.is_file():
        raise OptionError(path, "there is no such file of CLIP weights", "check the path")
    if path.suffix != ".safetensors":
        raise OptionError(path, "is not a .safetensors file", _REMEDY)
    try:
        with safe_open(str(path), "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise OptionError(path, "cannot be read as a file of tensors", _REMEDY) from error


def _tower(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of the image tower, by the names they have in it."""
    plain = {name.removeprefix("module."): value for name, value in entries.items()}  # from parallel training
    return {name.removeprefix("visual."): value for name, value in plain.items() if name.startswith("visual.")}


def _vision_transformer(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, dict[str, Any]]:
    """Length of the vectors and sizes of a vision transformer, from the shapes of its tensors."""
    width, _, patch, _ = shapes["conv1.weight"]
    hidden = shapes["transformer.resblocks.0.mlp.c_fc.weight"][0]
    return shapes["proj"][1], {
        "width": width,
        "layers": len({name.split(".")[2] for name in shapes if name.startswith("transformer.resblocks.")}),
        "head_width": max(64, width // 16),  # of every plain tower that open_clip knows
        "mlp_ratio": (hidden + 0.5) / width,  # open_clip rounds the product down
        "patch_size": patch,
        "image_size": patch * isqrt(shapes["positional_embedding"][0] - 1),
    }


def _config(model: str) -> dict[str, Any]:
    """Settings of a model that comes with open_clip; other names would make it ask the network."""
    import open_clip

    if model not in open_clip.list_models():
        raise OptionError(f"--clip-model {model}", "is not known to open_clip", "use a name such as ViT-B-32")
    config: dict[str, Any] = open_clip.get_model_config(model)
    return config
