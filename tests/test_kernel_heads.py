from dataclasses import replace

import numpy as np
import pytest

from diffclip_geo.kernel_heads import RECIPES, fit_kernel_heads, head_weights
from diffclip_geo.presets import load_preset

BLEND = load_preset("compact").blend


def fitted(blend, seed=0, views=2):
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1, 2], 6)
    shots = [(rng.normal(size=(18, 8)) + label[:, None] * (1 + view)).astype(np.float32) for view in range(views)]
    scene = [rng.normal(1, 1, size=(200, 8)).astype(np.float32) for _ in range(views)]
    return (*fit_kernel_heads(blend, shots, label, np.arange(18), 3, scene, 4), scene)


FIXED = replace(BLEND, freedom=0.0)


def test_a_blend_asks_for_the_heads_that_have_a_weight():
    assert list(head_weights(BLEND)) == list(RECIPES)
    assert head_weights(load_preset("paper").blend) == {}
    assert list(head_weights(replace(BLEND, kernel=0.0))) == ["raw_kernel", "local_kernel", "context_kernel"]


def test_scores_and_held_out_scores_are_the_weighted_sums_of_the_heads():
    heads, scores, scene = fitted(FIXED)
    alone = [fitted(replace(FIXED, **{o: 0.0 for o in RECIPES if o != name})) for name in RECIPES]
    assert heads(scene) == pytest.approx(sum(one(scene) for one, *_ in alone), abs=1e-5)
    assert scores.scene == pytest.approx(heads(scene), abs=1e-5)
    assert scores.spread == pytest.approx(heads(scene).std(0).mean(), rel=1e-4)
    for name in ("far", "near"):
        assert getattr(scores, name) == pytest.approx(sum(getattr(one[1], name) for one in alone), abs=1e-5)
    doubled, *_ = fitted(replace(FIXED, **{name: 2 * getattr(FIXED, name) for name in RECIPES}))
    assert doubled(scene) == pytest.approx(2 * heads(scene), rel=1e-4, abs=1e-5)


def test_shots_move_the_weights_of_the_heads_and_with_them_all_scores():
    fixed, *_ = fitted(FIXED)
    heads, scores, scene = fitted(BLEND)
    assert heads.weights != pytest.approx(fixed.weights, rel=0.01)
    assert sum(heads.weights) == pytest.approx(sum(fixed.weights))
    assert scores.scene == pytest.approx(heads(scene), abs=1e-5)
    alone = [fitted(replace(BLEND, **{o: 0.0 for o in RECIPES if o != name})) for name in RECIPES]
    shares = [weight / getattr(BLEND, name) for weight, name in zip(heads.weights, RECIPES, strict=True)]
    for name in ("far", "near"):
        expected = sum(share * getattr(one[1], name) for share, one in zip(shares, alone, strict=True))
        assert getattr(scores, name) == pytest.approx(expected, abs=1e-5)


def test_on_relative_views_every_head_has_a_twin():
    heads, _, scene = fitted(FIXED, views=4)
    assert heads.weights == 2 * tuple(head_weights(FIXED).values())
    for plain, twin in zip(heads.heads[:4], heads.heads[4:], strict=True):
        assert [term.view + 2 for term in plain.terms] == [term.view for term in twin.terms]
        assert twin.terms[0].metric == plain.terms[0].metric
    assert not np.allclose(heads(scene), heads([*scene[:2], *scene[:2]]))
    half, *_ = fitted(replace(FIXED, relative=0.5), views=4)
    assert half.weights[4:] == tuple(weight / 2 for weight in half.weights[:4])
    assert len(fitted(replace(FIXED, relative=0.0), views=4)[0].heads) == 4
