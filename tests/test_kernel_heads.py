from dataclasses import replace

import numpy as np
import pytest

from diffclip_geo.kernel_heads import RECIPES, fit_kernel_heads, head_weights
from diffclip_geo.presets import load_preset

BLEND = load_preset("compact").blend


def fitted(blend, seed=0):
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1, 2], 6)
    shots = [(rng.normal(size=(18, 8)) + label[:, None] * (1 + view)).astype(np.float32) for view in range(2)]
    scene = [rng.normal(1, 1, size=(200, 8)).astype(np.float32) for _ in range(2)]
    return (*fit_kernel_heads(blend, shots, label, np.arange(18), 3, scene, 4), scene)


def test_a_blend_asks_for_the_heads_that_have_a_weight():
    assert list(head_weights(BLEND)) == list(RECIPES)
    assert head_weights(load_preset("paper").blend) == {}
    assert list(head_weights(replace(BLEND, kernel=0.0))) == ["raw_kernel", "local_kernel", "context_kernel"]


def test_scores_and_held_out_scores_are_the_weighted_sums_of_the_heads():
    heads, far, near, scene = fitted(BLEND)
    alone = [fitted(replace(BLEND, **{o: 0.0 for o in RECIPES if o != name})) for name in RECIPES]
    assert heads(scene) == pytest.approx(sum(one(scene) for one, *_ in alone), abs=1e-5)
    for number, blended in enumerate((far, near), start=1):
        assert blended == pytest.approx(sum(one[number] for one in alone), abs=1e-5)
    doubled, *_ = fitted(replace(BLEND, **{name: 2 * getattr(BLEND, name) for name in RECIPES}))
    assert doubled(scene) == pytest.approx(2 * heads(scene), rel=1e-4, abs=1e-5)
