"""Small scenes and methods for tests of the benchmark."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tiny import tiny_preset

from diffclip_geo.benchmarking.cases import Case
from diffclip_geo.benchmarking.methods import OURS
from diffclip_geo.benchmarking.networks import NetworkMethod

NAMES = ("grass", "road", "tree")


def tiny_case(name: str = "town", *, classes: int = 3, bands: int = 6, seed: int = 0, invalid: bool = True) -> Case:
    """Two images of unlike size in patches of 4 × 4 pixels, each class with a spectrum of its own."""
    random = np.random.default_rng(seed)
    spectra = random.uniform(100, 1000, (classes + 1, bands))
    images, labels = [], []
    for height, width in ((16, 20), (12, 16)):
        label = random.integers(0, classes + 1, (height // 4, width // 4)).repeat(4, 0).repeat(4, 1)
        image = spectra[label] * random.uniform(0.7, 1.3, (height, width, 1)) + random.normal(
            0, 30, (*label.shape, bands)
        )
        if invalid:
            image[1, 2] = np.nan
        images.append((image, label[..., None] * 3 + random.normal(size=(height, width, 1))))
        labels.append(label)
    return Case.from_arrays(name, images, labels, NAMES[:classes])


def tiny_method(**fields: object) -> NetworkMethod:
    """`ours` at a size that trains in a second."""
    tables = tiny_preset(input={"components": 4}).to_dict()
    return replace(OURS, changes={name: tables[name] for name in tables if name != "description"}, **fields)
