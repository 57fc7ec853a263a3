from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmark_cases import tiny_case, tiny_method

from diffclip_geo import training
from diffclip_geo.benchmarking import networks
from diffclip_geo.benchmarking.cases import Case, Tile
from diffclip_geo.benchmarking.methods import GROUPS, METHODS
from diffclip_geo.benchmarking.networks import NetworkMethod
from diffclip_geo.benchmarking.splits import few_shot_split
from diffclip_geo.kernel_heads import fit_kernel_heads, head_weights
from diffclip_geo.margins import pad
from diffclip_geo.nearness import Nearness
from diffclip_geo.presets import load_preset
from diffclip_geo.temperature import map_temperature


def shuffled(case: Case, kept: np.ndarray) -> Case:
    """The case with classes and units of all pixels but the `kept` ones dealt anew, over all of the ground."""
    random = np.random.default_rng(1)
    others = np.setdiff1d(np.arange(len(case.truth)), kept)
    truth, group = case.truth.copy(), case.group.copy()
    truth[others], group[others] = random.integers(0, len(case.classes) + 1, (2, len(others)))
    tiles, start = [], 0
    for tile in case.tiles:
        part, shape = slice(start, start + tile.truth.size), tile.truth.shape
        tiles.append(Tile(tile.block, truth[part].reshape(shape), group[part].reshape(shape)))
        start += tile.truth.size
    return replace(case, tiles=tuple(tiles))


@pytest.mark.parametrize(
    "method", [tiny_method(), tiny_method(head="ldc"), METHODS["multiscale-extratrees"]], ids=["ours", "ldc", "peer"]
)
def test_labels_outside_the_shots_change_nothing(method):
    case = tiny_case()
    train, _ = few_shot_split(case.truth, case.group, 3, 0, "group")
    other = shuffled(case, train)
    assert not np.array_equal(case.truth, other.truth) and not np.array_equal(case.group, other.group)
    everywhere = np.flatnonzero(np.concatenate([tile.block.valid.ravel() for tile in case.tiles]))
    models, maps = [], []
    for one in (case, other):
        fitted = method.prepare(one.images, None).fit(one.shots(train), 0)
        models.append({name: np.asarray(value).tobytes() for name, value in fitted.state().items()})
        prediction = fitted.predict(everywhere)
        maps.append((prediction.label.tobytes(), prediction.probability.tobytes()))
    assert models[0] == models[1]
    assert maps[0] == maps[1]


def test_other_shots_make_another_model():
    case = tiny_case()
    prepared = tiny_method().prepare(case.images, None)
    states = [
        prepared.fit(case.shots(few_shot_split(case.truth, case.group, 3, seed, "random")[0]), 0).state()
        for seed in (0, 1)
    ]
    assert states[0]["text"].tobytes() != states[1]["text"].tobytes()


def test_wanted_pixels_get_what_the_whole_map_gives_them():
    case = tiny_case()
    fitted = (
        tiny_method()
        .prepare(case.images, None)
        .fit(case.shots(few_shot_split(case.truth, case.group, 3, 0, "random")[0]), 0)
    )
    number = len(case.tiles[0].truth.ravel())  # the first pixel of the second image
    block = case.tiles[1].block
    margin = fitted.classifier.margin
    whole = np.full((*block.valid.shape, 3), np.nan, np.float32)
    trained = replace(
        fitted.classifier,
        stats=networks.SceneStats(fitted.classifier.stats.transforms),
        views=tuple(networks.View(view.transform, view.weights, view.relative) for view in fitted.classifier.views),
    )
    around = pad(block, ((margin, margin), (margin, margin)))
    whole[block.valid] = trained.probabilities(trained.engine(), around, margin)
    pixels = np.array([3, 40, 100, 150])
    found = fitted.predict(number + pixels)
    wanted = fitted._weighed(whole.reshape(-1, 3)[pixels], number + pixels)
    assert np.allclose(found.probability, wanted, atol=1e-5)


def test_nearness_weighs_what_is_predicted():
    case = tiny_case()
    train, test = few_shot_split(case.truth, case.group, 3, 0, "random")
    fitted = tiny_method().prepare(case.images, None).fit(case.shots(train), 0)
    assert fitted.classifier.nearness is not None
    overwhelming = replace(fitted.classifier, nearness=Nearness(1e5, 1000.0))
    found = replace(fitted, classifier=overwhelming).predict(test)
    image = np.repeat(np.arange(len(case.tiles)), [tile.truth.size for tile in case.tiles])
    place = np.concatenate([np.indices(tile.truth.shape).reshape(2, -1).T for tile in case.tiles])
    distance = np.where(
        image[test][:, None] == image[train],
        np.hypot(*(place[test][:, None] - place[train]).transpose(2, 0, 1)),
        np.inf,
    )
    alone = np.sort(distance, 1)
    clear = np.isfinite(alone[:, 0]) & (alone[:, 0] < alone[:, 1])
    nearest = case.truth[train][distance.argmin(1)]
    assert clear.any() and np.array_equal(found.label[clear], nearest[clear])


def test_the_temperature_is_that_of_scores_with_nearness(monkeypatch):
    heads, calibrated = [], []

    def fit_heads(*arguments):
        heads.append(fit_kernel_heads(*arguments))
        return heads[-1]

    def calibrate(far, near, label, spread):
        calibrated.append((far, near))
        return map_temperature(far, near, label, spread)

    monkeypatch.setattr(training, "fit_kernel_heads", fit_heads)
    monkeypatch.setattr(training, "map_temperature", calibrate)
    case = tiny_case()
    shots = case.shots(few_shot_split(case.truth, case.group, 3, 0, "random")[0])
    assert tiny_method().prepare(case.images, None).fit(shots, 0).classifier.nearness is not None
    scores = heads[0][1]
    for plain, weighed in zip((scores.far, scores.near), calibrated[0], strict=True):
        assert (weighed >= plain).all() and (weighed > plain + 1e-3).any()


def test_a_class_without_a_shot_is_never_mapped():
    case = tiny_case()
    train, test = few_shot_split(case.truth, case.group, 4, 0, "random")
    fitted = tiny_method().prepare(case.images, None).fit(case.shots(train[case.truth[train] != 2]), 0)
    found = fitted.predict(test)
    assert set(found.label) <= {1, 3} and not found.probability[:, 1].any()


def test_pretraining_is_kept_per_scene_and_settings(tmp_path, monkeypatch):
    calls = []
    original = networks.pretrain_windows

    def counted(source, *arguments, **options):
        calls.append(len(source))
        return original(source, *arguments, **options)

    monkeypatch.setattr(networks, "pretrain_windows", counted)
    images = tiny_case().images
    first = tiny_method().prepare(images, tmp_path)
    again = tiny_method(prompt="p1").prepare(images, tmp_path)
    assert len(calls) == 1 and again.seconds > 0
    assert all(torch.equal(a, b) for a, b in zip(first.encoder.parameters(), again.encoder.parameters(), strict=True))
    tiny_method(patches=50).prepare(images, tmp_path)
    tiny_method().prepare(tiny_case(seed=1).images, tmp_path)
    tiny_method(pretrained=False).prepare(images, tmp_path)
    assert calls[1] == 50 and len(calls) == 3


def test_methods_that_look_alike_look_once_and_say_the_same_seconds():
    images = tiny_case().images
    method = tiny_method(pretrained=False)
    first, again = (one.prepare(images, None) for one in (method, replace(method, prompt="p1")))
    assert again.views[0].features is first.views[0].features and again.seconds == first.seconds > 0
    for other in (replace(method, context=False), replace(method, whitened=False)):
        assert not np.array_equal(other.prepare(images, None).views[0].features, first.views[0].features)
    elsewhere = method.prepare(tiny_case(seed=1).images, None)
    assert not np.array_equal(elsewhere.views[0].features, first.views[0].features)


@pytest.mark.parametrize(
    "fields", [{"whitened": False}, {"context": False}, {"named": False, "prompt": "{class}"}, {"head": "ldc-learned"}]
)
def test_parts_can_be_taken_away(fields):
    case = tiny_case()
    train, test = few_shot_split(case.truth, case.group, 3, 0, "random")
    found = tiny_method(**fields).prepare(case.images, None).fit(case.shots(train), 0).predict(test)
    assert found.probability.sum(1) == pytest.approx(1, abs=1e-5)


def test_without_whitening_the_scales_keep_their_shares():
    case = tiny_case(bands=12)
    views = [tiny_method(whitened=one).prepare(case.images, None).views for one in (True, False)]
    for white, plain in zip(*([view for view in some if not view.relative] for some in views), strict=True):
        shares = [networks._variances(view.features, len(view.weights)) for view in (white, plain)]
        assert plain.transform.mixing is None and plain.features.shape[1] == 13 * 4
        assert np.allclose(*shares, rtol=1e-3)


def test_every_network_method_has_a_preset():
    for method in METHODS.values():
        if isinstance(method, NetworkMethod):
            settings = method.settings()
            assert settings.encoder.window % 2 and method.description


def test_every_method_of_a_group_has_a_name_of_its_own():
    for name, methods in GROUPS.items():
        assert len({method.name for method in methods}) == len(methods), name


def test_published_settings():
    assert METHODS["paper"].patches == 700
    assert METHODS["paper-no-diffusion"].settings().pretraining.timesteps == 0
    assert METHODS["paper-window-7"].settings().encoder.window == 7
    assert METHODS["ours-language-only"].settings().blend.kernel == 0


def test_changes_add_up():
    settings = METHODS["ours-no-language-no-raw"].settings()
    assert (settings.blend.language, settings.blend.raw_kernel) == (0, 0) != settings.blend.kernel
    assert settings.encoder.window == 1 and not METHODS["ours-no-language-no-raw"].pretrained
    alone = METHODS["ours-no-language-only-context"].settings().blend
    assert head_weights(alone) == {"context_kernel": load_preset("compact").blend.context_kernel}


def test_without_language_nothing_but_the_idle_network_differs():
    case = tiny_case()
    train, test = few_shot_split(case.truth, case.group, 3, 0, "random")
    trained = tiny_method()
    tables = {name: dict(table) for name, table in trained.changes.items()}
    tables["blend"]["language"] = 0.0
    idle = replace(trained, changes=tables | METHODS["ours-no-language"].changes, pretrained=False)
    full = replace(trained, changes=tables)
    found = [
        method.prepare(case.images, None).fit(case.shots(train), 0).predict(test).probability for method in (idle, full)
    ]
    assert np.array_equal(*found)
