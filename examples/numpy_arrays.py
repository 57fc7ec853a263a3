"""The method on numpy arrays: two synthetic modalities of any kind, a few labels, a map with probabilities."""

from __future__ import annotations

import numpy as np

from diffclip_geo import ArrayModel

rng = np.random.default_rng(0)
height, width = 48, 48
truth = np.ones((height, width), int)
truth[:, 24:] = 2
truth[16:32, 16:32] = 3

spectra = rng.normal(size=(4, 30)).cumsum(1)  # one smooth spectrum per class
image = spectra[truth] + rng.normal(scale=1.0, size=(height, width, 30))
depth = np.where(truth == 3, 5.0, 0.0)[..., None] + rng.normal(size=(height, width, 1))

labels = np.zeros_like(truth)
for label in (1, 2, 3):
    row, column = np.nonzero(truth == label)
    chosen = rng.choice(len(row), 4, replace=False)
    labels[row[chosen], column[chosen]] = label

model = ArrayModel(seed=0)
model.pretrain([(image, depth)], progress=True)
model.fewshot([(image, depth)], [labels], ["left", "right", "middle"], progress=True)
mapped, probability = model.classify((image, depth))
print(f"right: {(mapped == truth).mean():.1%}, mean confidence {probability.max(-1).mean():.2f}")
