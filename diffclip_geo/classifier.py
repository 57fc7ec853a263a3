"""The trained classifier: kernel heads and the language model, blended into calibrated class probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from .classes import ClassTable
from .conformal import HeldOutShots
from .exact import Embedder, ExactEngine
from .images import SceneStats
from .kernel import KernelRidge, Term
from .kernel_heads import KernelHeads
from .language import LanguageModel, build_head, head_name
from .nearness import Nearness
from .nn.encoder import Encoder, EncoderConfig
from .nn.fusion import ImageEncoder
from .normalisation import Array
from .presets import BlendSettings, Preset
from .scenes import Block
from .temperature import softmax
from .tensorfiles import load_tensors, save_tensors
from .views import REACH, View
from .workspace import Workspace

_TERM_FACTS = ("view", "metric", "share", "width")  # of a kernel, beside its arrays


@dataclass(frozen=True)
class Classifier:
    """Everything inference needs."""

    classes: ClassTable
    stats: SceneStats
    model: LanguageModel
    views: tuple[View, ...]  # brightness-free, raw
    kernels: KernelHeads | None
    blend: BlendSettings
    temperature: float
    held_out: HeldOutShots | None = None  # without kernel heads there is none
    nearness: Nearness | None = None  # for whoever knows where pixels lie; `probabilities` are without it

    @property
    def margin(self) -> int:
        """Pixels of context around a block."""
        return max(REACH, self.model.image.encoder.config.window // 2)

    def engine(self, device: torch.device | str = "cpu") -> ExactEngine:
        """The exact engine of the image encoder."""
        return ExactEngine(self.model.image, device, self.model.fusion)

    def scores(self, engine: Embedder, block: Block, margin: int) -> Array:
        """Blended scores of the valid core pixels in row-major order; float32 `[pixels, K]`."""
        embedded = engine.embed(self.stats.normalise(block, margin))
        total = self.blend.language * self.model.scores(embedded)
        return total if self.kernels is None else total + self.kernels([view(block, margin) for view in self.views])

    def probabilities(self, engine: Embedder, block: Block, margin: int) -> Array:
        """Calibrated class probabilities of the valid core pixels in row-major order; float32 `[pixels, K]`.

        `block` was read with `margin`, at least the classifier's own.
        """
        return softmax(self.scores(engine, block, margin) / self.temperature)


def save_classifier(workspace: Workspace, classifier: Classifier, facts: Mapping[str, Any]) -> None:
    """Write the classifier and the `facts` of its training. The views belong to stage 1 and are written there."""
    tensors = {f"image.{name}": tensor for name, tensor in classifier.model.image.state_dict().items()}
    tensors["text"] = classifier.model.text
    head = classifier.model.head
    tensors |= {f"head.{name}": tensor for name, tensor in (head.state_dict() if head else {}).items()}
    blended = classifier.kernels
    kernels = () if blended is None else tuple(zip(blended.heads, blended.weights, strict=True))
    for number, (kernel, _) in enumerate(kernels):
        tensors[f"kernel.{number}.coefficients"] = torch.from_numpy(kernel.coefficients)
        for place, term in enumerate(kernel.terms):
            tensors[f"kernel.{number}.{place}.shots"] = torch.from_numpy(term.shots)
            tensors[f"kernel.{number}.{place}.scale"] = torch.from_numpy(term.scale)
    if classifier.held_out is not None:
        tensors["held_out.score"] = torch.from_numpy(classifier.held_out.score)
        tensors["held_out.group"] = torch.from_numpy(classifier.held_out.group)
    save_tensors(workspace.classifier, tensors)
    workspace.write(
        workspace.classifier_manifest,
        {
            **facts,
            "classes": classifier.classes.to_dict(),
            "temperature": classifier.temperature,
            "nearness": None if classifier.nearness is None else asdict(classifier.nearness),
            "language": {
                "temperature": classifier.model.temperature,
                "spread": classifier.model.spread,
                "head": head_name(head),
            },
            "kernels": [
                {
                    "weight": weight,
                    "terms": [{name: getattr(term, name) for name in _TERM_FACTS} for term in kernel.terms],
                }
                for kernel, weight in kernels
            ],
        },
    )


def load_classifier(workspace: Workspace) -> Classifier:
    """The classifier of a workspace. Raises WorkspaceError."""
    facts = workspace.read(workspace.manifest, "pretrain")
    trained = workspace.read(workspace.classifier_manifest, "fewshot")
    preset = Preset.from_dict(facts["preset"])
    tensors = load_tensors(workspace.classifier)
    text = tensors["text"]
    image = ImageEncoder(empty_encoder(preset, facts["channels"]), text.shape[1], centre=preset.fewshot.centre)
    image.load_state_dict({k.removeprefix("image."): v for k, v in tensors.items() if k.startswith("image.")})
    language = trained["language"]
    head = build_head(language["head"], preset, len(facts["channels"]), len(text))
    if head is not None:
        head.load_state_dict({k.removeprefix("head."): v for k, v in tensors.items() if k.startswith("head.")})
        head.eval()
    return Classifier(
        ClassTable.from_dict(trained["classes"]),
        SceneStats.from_dict(facts["stats"]),
        LanguageModel(image.eval(), text, language["temperature"], language["spread"], head),
        tuple(View.from_dict(one) for one in facts["views"]),
        _load_kernels(trained["kernels"], tensors),
        preset.blend,
        trained["temperature"],
        HeldOutShots(tensors["held_out.score"].numpy(), tensors["held_out.group"].numpy())
        if "held_out.score" in tensors
        else None,
        None if trained["nearness"] is None else Nearness(**trained["nearness"]),
    )


def _load_kernels(facts: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensor]) -> KernelHeads | None:
    heads = []
    for number, terms in enumerate(one["terms"] for one in facts):
        arrays = [
            [tensors[f"kernel.{number}.{place}.{name}"].numpy() for name in ("scale", "shots")]
            for place in range(len(terms))
        ]
        fitted = tuple(Term(**one, scale=scale, shots=shots) for one, (scale, shots) in zip(terms, arrays, strict=True))
        heads.append(KernelRidge(fitted, tensors[f"kernel.{number}.coefficients"].numpy()))
    return KernelHeads(tuple(heads), tuple(one["weight"] for one in facts)) if heads else None


def empty_encoder(preset: Preset, channels: Sequence[int]) -> Encoder:
    """An encoder of the preset's architecture, to load weights into."""
    s = preset.encoder
    return Encoder(EncoderConfig(tuple(channels), s.window, s.width, s.depth, s.heads, s.mlp_ratio))
