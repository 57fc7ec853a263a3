"""The paper's protocol on the layouts of its public scenes, and two-class tasks, by the command as typed."""

import csv

import numpy as np
import pytest
import rasterio
from benchmark_cases import tiny_case
from diffclip_geo.cli.main import main
from raster_files import write_raster
from scipy.io import savemat

from diffclip_geo.benchmarking import benchmark
from diffclip_geo.benchmarking.matfiles import CLASSES
from diffclip_geo.simulation import simulate


def write_scene(folder, classes):
    """Classes in patches of 10 × 10 pixels, in the layout that the three scenes have in common."""
    random = np.random.default_rng(0)
    patches = np.resize(np.arange(classes + 1), (6, 6))
    label = patches.repeat(10, 0).repeat(10, 1)
    spectra = random.uniform(100, 1000, (classes + 1, 10))
    image = spectra[label] + random.normal(0, 20, (*label.shape, 10))
    half = np.indices(label.shape)[1] % 2
    folder.mkdir()
    for name, value in (
        ("HSI", image),
        ("LiDAR", label * 3.0),
        ("TRLabel", (label * half).astype(np.uint8)),
        ("TSLabel", (label * (1 - half)).astype(np.uint8)),
    ):
        savemat(folder / f"{name}.mat", {name: value})
    return int((label > 0).sum()), np.bincount(label.ravel(), minlength=classes + 1)[1:]


def test_the_protocol_of_the_paper_on_its_three_scenes(tmp_path):
    labelled = {name: write_scene(tmp_path / name, len(CLASSES[name])) for name in ("houston2013", "trento", "muufl")}
    quoted = tmp_path / "published.csv"
    quoted.write_text("scene,split,shots,method,oa,aa,source\ntrento,random,40,another,81.5,79.25,a paper\n")
    arguments = ["benchmark", *labelled, "--data", str(tmp_path), "-o", str(tmp_path / "acc"), "-m", "spectra-svm"]
    arguments += ["--split", "random", "--shots", "2,8,20,40", "--seeds", "1", "--published", str(quoted)]
    assert main(arguments) == 0
    rows = list(csv.DictReader((tmp_path / "acc.csv").open()))
    measured = {(row["scene"], row["shots"]): row for row in rows if row["source"] == "measured"}
    assert set(measured) == {(scene, shots) for scene in labelled for shots in ("2", "8", "20", "40")}
    assert all(float(row["oa_mean"]) > 50 and float(row["kappa_mean"]) > 50 for row in measured.values())
    text = (tmp_path / "acc.txt").read_text()
    for scene, (count, sizes) in labelled.items():
        tested = count - np.minimum(40, sizes // 2).sum()
        assert f"{scene}, random split, 40 shots per class ({tested:,} pixels tested)" in text
    assert "another [a paper]" in text.split("trento, random split, 40 shots")[1]


def test_two_classes_have_their_scores_in_the_table_of_the_command(tmp_path):
    simulate(tmp_path, size=(48, 48), bands=20)
    with rasterio.open(tmp_path / "truth.tif") as truth:
        common = np.bincount(truth.read(1).ravel()).argmax()
        write_raster(tmp_path / "two.tif", np.where(truth.read(1) == common, 2, 1).astype(np.uint8), truth.transform)
    arguments = ["benchmark", "--hsi", str(tmp_path / "scene.tif"), "--labels", str(tmp_path / "two.tif")]
    arguments += ["-o", str(tmp_path / "acc"), "-m", "spectra-svm"]
    assert main([*arguments, "--shots", "10", "--seeds", "1", "--split", "random"]) == 0
    check_two_class_scores(tmp_path)


def test_two_classes_by_the_array_api(tmp_path):
    benchmark(
        [tiny_case(classes=2)], tmp_path / "acc", methods=("spectra-svm",), shots=(10,), seeds=1, splits=("random",)
    )
    check_two_class_scores(tmp_path)


def check_two_class_scores(folder):
    text = (folder / "acc.txt").read_text()
    assert all(name in text for name in ("ACC", "AUC", "sensitivity", "specificity"))
    for row in csv.DictReader((folder / "acc.csv").open()):
        scores = {name: float(row[f"{name}_mean"]) for name in ("acc", "auc", "sensitivity", "specificity")}
        assert scores["acc"] == float(row["oa_mean"])
        assert (scores["sensitivity"] + scores["specificity"]) / 2 == pytest.approx(float(row["aa_mean"]), abs=1e-3)
        assert 50 < scores["auc"] <= 100
