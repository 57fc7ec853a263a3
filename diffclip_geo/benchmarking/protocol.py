"""What a method must offer to be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .cases import Images, Int, Shots


@dataclass(frozen=True)
class Prediction:
    """Class 1…K of each pixel; where the method has them, probabilities `[N, K]` and the score of class 2 of two."""

    label: Int
    probability: NDArray[np.floating] | None = None
    score: NDArray[np.floating] | None = None


class Fitted(Protocol):
    """A trained classifier."""

    def predict(self, pixels: Int) -> Prediction:
        """Classes of the pixels with these numbers, ascending."""

    def state(self) -> dict[str, Any]:
        """Everything training decided, as arrays and numbers."""


class Prepared(Protocol):
    """A method after all that needs no label."""

    @property
    def seconds(self) -> float:
        """Time this took."""

    def fit(self, shots: Shots, seed: int) -> Fitted:
        """Train on the shots."""


class Method(Protocol):
    """A way to classify images from a few labelled pixels. It never sees the truth of any other pixel."""

    @property
    def name(self) -> str:
        """In tables and on the command line."""

    @property
    def description(self) -> str:
        """One line."""

    def prepare(self, images: Images, cache: Path | None) -> Prepared:
        """Learn from the images alone; what costs much may be kept in the folder `cache`."""
