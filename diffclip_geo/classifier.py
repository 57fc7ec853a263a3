"""The trained classifier: from standardised images to class probabilities, and to disk and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .classes import ClassTable
from .exact import ExactEngine
from .images import Image, SceneStats
from .language import LanguageModel
from .nn.encoder import Encoder, EncoderConfig
from .nn.fusion import ImageEncoder
from .presets import Preset
from .tensorfiles import load_tensors, save_tensors
from .workspace import Workspace


@dataclass(frozen=True)
class Classifier:
    """Everything inference needs: classes, normalisation, and the language model."""

    classes: ClassTable
    stats: SceneStats
    model: LanguageModel

    def engine(self, device: torch.device | str = "cpu") -> ExactEngine:
        """The exact engine of this classifier."""
        return ExactEngine(self.model.image, device)

    def probabilities(self, engine: ExactEngine, image: Image) -> Tensor:
        """Softmax over the classes of the valid core pixels in row-major order; float32 `[pixels, K]`."""
        return torch.softmax(engine.embed(image) @ self.model.text.T / self.model.temperature, -1)


def save_language_model(workspace: Workspace, model: LanguageModel) -> None:
    """Write the weights of the image encoder and the cached text embeddings."""
    save_tensors(
        workspace.classifier,
        {f"image.{name}": tensor for name, tensor in model.image.state_dict().items()} | {"text": model.text},
        {"temperature": model.temperature},
    )


def load_classifier(workspace: Workspace) -> Classifier:
    """The classifier of a workspace. Raises WorkspaceError."""
    facts = workspace.read(workspace.manifest, "pretrain")
    trained = workspace.read(workspace.classifier_manifest, "fewshot")
    preset = Preset.from_dict(facts["preset"])
    tensors = load_tensors(workspace.classifier)
    text = tensors.pop("text")
    image = ImageEncoder(empty_encoder(preset, facts["channels"]), text.shape[1])
    image.load_state_dict({name.removeprefix("image."): tensor for name, tensor in tensors.items()})
    model = LanguageModel(image.eval(), text, trained["temperature"])
    return Classifier(ClassTable.from_dict(trained["classes"]), SceneStats.from_dict(facts["stats"]), model)


def empty_encoder(preset: Preset, channels: Sequence[int]) -> Encoder:
    """An encoder of the preset's architecture, to load weights into."""
    s = preset.encoder
    return Encoder(EncoderConfig(tuple(channels), s.window, s.width, s.depth, s.heads, s.mlp_ratio))
