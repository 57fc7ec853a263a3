"""What users have today: tree ensembles and RBF-SVM of scikit-learn, on spectra and on multi-scale spatial features."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..errors import OptionError
from .cases import Images, Int, Shots
from .protocol import Prediction

COMPONENTS = 20
SIGMAS = (1.0, 2.0, 3.5)  # of the Gaussians, in pixels


@dataclass(frozen=True)
class PeerMethod:
    """A classifier of scikit-learn on one kind of features."""

    name: str
    description: str
    features: str  # of FEATURES
    estimator: str  # module and class in scikit-learn
    settings: Mapping[str, Any] = field(default_factory=dict)

    def prepare(self, images: Images, cache: Path | None) -> PreparedPeer:
        """Compute the features of all pixels."""
        started = time.perf_counter()
        features = FEATURES[self.features](images)
        return PreparedPeer(self, features, len(images.classes), time.perf_counter() - started)


@dataclass(frozen=True)
class PreparedPeer:
    """Features `[pixels, F]` of all pixels."""

    method: PeerMethod
    features: NDArray[np.floating]
    classes: int
    seconds: float

    def fit(self, shots: Shots, seed: int) -> FittedPeer:
        """Train on the shots; the estimators have a seed of their own, always the same."""
        module, name = self.method.estimator.rsplit(".", 1)
        estimator = getattr(sklearn(module), name)(**self.method.settings)
        return FittedPeer(estimator.fit(self.features[shots.index], shots.label), self.features, self.classes)


@dataclass(frozen=True)
class FittedPeer:
    """A trained estimator."""

    estimator: Any
    features: NDArray[np.floating]
    classes: int

    def predict(self, pixels: Int) -> Prediction:
        """Classes, with probabilities where the estimator votes (a forest)."""
        wanted, known = self.features[pixels], self.estimator.classes_
        if not hasattr(self.estimator, "predict_proba"):
            score = self.estimator.decision_function(wanted) if self.classes == len(known) == 2 else None
            return Prediction(self.estimator.predict(wanted), None, score)
        probability = np.zeros((len(pixels), self.classes))
        probability[:, known - 1] = self.estimator.predict_proba(wanted)
        return Prediction(probability.argmax(1) + 1, probability, probability[:, 1] if self.classes == 2 else None)

    def state(self) -> dict[str, Any]:
        """Settings of the estimator; its inner state is scikit-learn's own."""
        settings: dict[str, Any] = self.estimator.get_params()
        return settings


def spectral_features(images: Images) -> NDArray[np.floating]:
    """All bands and the second modality of every pixel, standardised; `[pixels, B + C]`."""
    features: NDArray[np.floating] = _standardised(_pixels(images, hsi=True, lidar=True))
    return features


def multiscale_features(images: Images) -> NDArray[np.floating]:
    """Principal components of the spectra and the second modality, as they are and Gaussian-smoothed at three scales,
    standardised; `[pixels, 4 · (20 + C)]`.
    """
    spectra = _standardised(_pixels(images, hsi=True, lidar=False))
    components = sklearn("sklearn.decomposition").PCA(min(COMPONENTS, spectra.shape[1]), random_state=0)
    projected = components.fit_transform(spectra)
    projected /= projected[:, 0].std()
    start, parts = 0, []
    for block in images.blocks:
        height, width = block.valid.shape
        own = projected[start : start + height * width].reshape(height, width, -1)
        base = np.concatenate([own, block.lidar.transpose(1, 2, 0)], -1)
        smooth = [_smoothed(base, sigma) for sigma in SIGMAS]
        parts.append(np.concatenate([base, *smooth], -1).reshape(height * width, -1))
        start += height * width
    features: NDArray[np.floating] = _standardised(np.concatenate(parts))
    return features


def placed_features(images: Images) -> NDArray[np.floating]:
    """The multi-scale features with the place of each pixel: its image, row and column, standardised;
    `[pixels, 4 · (20 + C) + 3]`.
    """
    places = [
        np.stack([np.full(block.valid.shape, number), *np.indices(block.valid.shape)], -1).reshape(-1, 3)
        for number, block in enumerate(images.blocks)
    ]
    features: NDArray[np.floating] = np.concatenate(
        [multiscale_features(images), _standardised(np.concatenate(places).astype(np.float64))], 1
    )
    return features


FEATURES: dict[str, Callable[[Images], NDArray[np.floating]]] = {
    "spectra": spectral_features,
    "multiscale": multiscale_features,
    "placed": placed_features,
}


def sklearn(module: str) -> Any:
    """A module of scikit-learn. Raises OptionError when it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise OptionError(
            "the peers", "need scikit-learn", "install it with: pip install 'diffclip-geo[benchmark]'"
        ) from error


def _pixels(images: Images, *, hsi: bool, lidar: bool) -> NDArray[np.float32]:
    rows = []
    for block in images.blocks:
        stacked = np.concatenate([block.hsi] * hsi + [block.lidar] * lidar)
        rows.append(stacked.transpose(1, 2, 0).reshape(-1, len(stacked)))
    return np.concatenate(rows)


def _standardised(pixels: NDArray[np.floating]) -> Any:
    return sklearn("sklearn.preprocessing").StandardScaler().fit_transform(pixels)


def _smoothed(image: NDArray[np.floating], sigma: float) -> NDArray[np.floating]:
    return np.stack([gaussian_filter(image[..., i], sigma, mode="nearest") for i in range(image.shape[-1])], -1)
