"""The exact engine as `classify` uses it: the classifier on the window of every pixel."""

from __future__ import annotations

from dataclasses import dataclass

from .classes import ClassTable
from .classifier import Classifier
from .engines import FIXED
from .exact import MICRO_BATCH, Embedder
from .normalisation import Array
from .scenes import Block


@dataclass(frozen=True)
class Exact:
    """The classifier on the window of every pixel."""

    classifier: Classifier
    embedder: Embedder
    device: str
    cell: int = 1

    @property
    def classes(self) -> ClassTable:
        """Those of the classifier."""
        return self.classifier.classes

    @property
    def margin(self) -> int:
        """That of the classifier, which has more to look at than the embedder."""
        return self.classifier.margin

    @property
    def side(self) -> int:
        """On a CPU some seconds' work; a GPU is held up by the margins of small tiles."""
        return 64 if self.device == "cpu" else 256

    def memory(self, channels: int, side: int) -> int:
        """What is measured on the CPU, and some more.

        A value that is read goes through some ten arrays of 4 and 8 bytes: with and without margin, transposed,
        standardised, whitened and smoothed. A batch of windows has some twelve arrays of tokens at a time.
        """
        shape = self.classifier.model.image.encoder.config
        tokens = MICRO_BATCH * (shape.tokens + 1) * shape.width
        return FIXED + 60 * channels * (side + 2 * self.margin) ** 2 + 4 * 12 * tokens

    def probabilities(self, block: Block, margin: int) -> Array:
        """See `Engine`."""
        return self.classifier.probabilities(self.embedder, block, margin)
