import numpy as np
import onnx
import pytest
from students import BANDS, core, kernel_heads, random_student, raster, run, views_of

from diffclip_geo.onnx_graph import IR, OPSET
from diffclip_geo.student import Student, feature_model, view_features, view_rows, view_weights
from diffclip_geo.temperature import softmax
from diffclip_geo.views import REACH


@pytest.mark.parametrize(("layers", "plots"), [(0, False), (1, False), (2, False), (1, True)])
def test_features_are_those_of_the_views(layers, plots):
    block = raster(layers=layers)
    views = views_of(block, plots=plots)
    found = run(feature_model(views, BANDS, layers).SerializeToString(), block)[:, core(block).ravel()]
    assert len(views) == (4 if plots else 2)
    for number, view in enumerate(views):
        assert view_features(found.T, views, number) == pytest.approx(view(block, REACH), abs=2e-5)


def test_glints_are_clipped_and_dark_pixels_have_features():
    block = raster(gaps=0)
    views = views_of(block)
    block.hsi[:, 20, 20], block.hsi[:, 22, 22] = 0, 1e6
    found = run(feature_model(views, BANDS, 1).SerializeToString(), block)
    assert np.isfinite(found).all()
    assert view_features(found.T, views, 1) == pytest.approx(views[1](block, REACH), abs=2e-5)


def network(student: Student, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    for weight, bias in student.hidden:
        features = np.maximum(features @ weight.T + bias, 0)
    return features, features @ student.output[0].T + student.output[1]


def features_of(student, block):
    views = student.views
    found = np.empty((core(block).sum(), len(view_rows(views, 0)) + len(view_rows(views, 1))), np.float32)
    for number, view in enumerate(views):
        found[:, view_rows(views, number)] = view(block, REACH) / view_weights(view)
    return found


def test_without_doubt_the_network_decides_alone():
    block = raster()
    student = random_student(block)
    _, scores = network(student, features_of(student, block))
    found = run(student.model().SerializeToString(), block)
    assert found.shape == (*core(block).shape, student.classes)
    assert found[core(block)] == pytest.approx(softmax(scores), abs=1e-4)


@pytest.mark.parametrize("plots", [False, True])
def test_where_all_is_doubt_the_kernel_heads_decide(plots):
    block = raster()
    student = random_student(block, 1e9, rest=0.0, plots=plots)
    heads = kernel_heads(student.views, block)
    assert len(heads.heads) == (8 if plots else 4)
    expected = softmax(0.7 * heads([view(block, REACH) for view in student.views]))
    assert run(student.model().SerializeToString(), block)[core(block)] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("pieces", [1, 3])
def test_only_pixels_in_doubt_are_decided_anew(monkeypatch, pieces):
    monkeypatch.setattr("diffclip_geo.student.PIECE", 512 // pieces**3)
    block = raster()
    student = random_student(block, 0.4)
    features = features_of(student, block)
    hidden, scores = network(student, features)
    heads, rest = student.refinement.kernels, student.refinement.rest
    decided = 0.7 * heads([view(block, REACH) for view in student.views]) + hidden @ rest[0].T + rest[1]
    second, first = np.sort(scores, 1)[:, -2:].T
    clear = np.abs(first - second - 0.4) > 1e-4
    expected = softmax(np.where((first - second < 0.4)[:, None], decided, scores))
    found = run(student.model().SerializeToString(), block)[core(block)]
    assert 20 < (first - second < 0.4).sum() < len(first) - 20
    assert found[clear] == pytest.approx(expected[clear], abs=1e-4)


def test_a_model_is_one_file_that_old_runtimes_read():
    model = random_student(raster(), 0.4).model()
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == IR <= 8
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    assert OPSET <= 17


def test_all_views_standardise_lidar_alike():
    block = raster()
    free, raw = views_of(block)
    assert free.transform.centre[BANDS:] == pytest.approx(raw.transform.centre[BANDS:])
    assert free.transform.scale[BANDS:] == pytest.approx(raw.transform.scale[BANDS:])
