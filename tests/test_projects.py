"""Whole jobs on inputs of several files: what users type, and what lies there afterwards."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from diffclip_geo.cli.main import main
from project_files import labels, plot, preset_file
from raster_files import NORTH_UP, write_envi, write_raster


def run(*arguments):
    assert main([str(argument) for argument in arguments]) == 0


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def relative_views(work):
    return [view["relative"] for view in json.loads((work / "workspace.json").read_text())["views"]]


@pytest.fixture
def preset(tmp_path):
    return preset_file(tmp_path / "tiny.toml")


def test_plots_are_one_project_and_get_a_map_each(tmp_path, preset, capsys):
    for number, column in ((1, 0), (2, 100), (10, 200)):
        plot(tmp_path, f"plot_{number}", number, column=column)
    images, heights = tmp_path / "HSI" / "*.tif", tmp_path / "CHM" / "*.tif"
    work = tmp_path / "work"
    run("pretrain", images, heights, "-w", work, "--preset", preset)
    run("fewshot", labels(tmp_path / "labels.gpkg", (0, 100)), "-w", work)
    run("classify", "--out", tmp_path / "maps", "-w", work)
    assert relative_views(work) == [False, False, True, True]
    names = [f"plot_{number}" for number in (1, 2, 10)]
    assert sorted(path.name for path in (tmp_path / "maps").glob("*.tif")) == sorted(
        f"{name}{ending}.tif" for name in names for ending in ("", "_confidence")
    )
    assert "2 of 3: plot_2.tif" in capsys.readouterr().out
    for name in names:
        with (
            rasterio.open(tmp_path / "maps" / f"{name}.tif") as mapped,
            rasterio.open(tmp_path / "HSI" / f"{name}.tif") as image,
        ):
            assert (mapped.shape, mapped.transform, mapped.crs) == (image.shape, image.transform, image.crs)
            assert set(np.unique(mapped.read())) <= {1, 2}
    # The same by pattern, as a list, and one of them alone into a file.
    listed = [option for name in names[:2] for option in ("--scene", tmp_path / "HSI" / f"{name}.tif")]
    listed += [option for name in names[:2] for option in ("--lidar", tmp_path / "CHM" / f"{name}.tif")]
    run("classify", *listed, "--out", tmp_path / "listed", "-w", work)
    np.testing.assert_array_equal(read(tmp_path / "listed" / "plot_2.tif"), read(tmp_path / "maps" / "plot_2.tif"))
    run("classify", "--scene", images, "--lidar", heights, "--out", tmp_path / "again", "-w", work)
    single = tmp_path / "single.tif"
    chosen = [tmp_path / folder / "plot_2.tif" for folder in ("HSI", "CHM")]
    run("classify", "--scene", chosen[0], "--lidar", chosen[1], "--out", single, "-w", work)
    for path in (tmp_path / "again" / "plot_2.tif", single):
        np.testing.assert_array_equal(read(path), read(tmp_path / "maps" / "plot_2.tif"))


def test_nothing_is_mapped_when_one_of_the_maps_is_in_the_way(tmp_path, preset, capsys):
    for number, column in ((1, 0), (2, 100)):
        plot(tmp_path, f"plot_{number}", number, column=column)
    work, maps = tmp_path / "work", tmp_path / "maps"
    run("pretrain", tmp_path / "HSI" / "*.tif", "-w", work, "--preset", preset)
    run("fewshot", labels(tmp_path / "labels.gpkg", (0, 100)), "-w", work)
    maps.mkdir()
    (maps / "plot_2.tif").write_text("mine")
    capsys.readouterr()
    assert main(["classify", "--out", str(maps), "-w", str(work)]) == 1
    assert "plot_2.tif: exists already" in capsys.readouterr().err
    assert [path.name for path in maps.iterdir()] == ["plot_2.tif"]
    assert main(["classify", "--out", str(tmp_path / "map.tif"), "-w", str(work)]) == 1
    assert "--out: is one file for 2 scenes; name a folder for the maps" in capsys.readouterr().err


def test_every_layout_of_a_scene_gives_the_same_map(tmp_path, preset):
    image, heights = plot(tmp_path, "plot", 1)
    values, work = read(image), tmp_path / "work"
    run("pretrain", image, heights, "-w", work, "--preset", preset)
    assert relative_views(work) == [False, False]
    run("fewshot", labels(tmp_path / "labels.gpkg"), "-w", work)
    layouts = [image]
    for interleave in ("bsq", "bil", "bip"):
        layouts.append(write_envi(tmp_path / f"{interleave}.dat", values, interleave=interleave).with_suffix(".hdr"))
    for number, options in enumerate(
        ({"INTERLEAVE": "BAND"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"driver": "COG"})
    ):
        layouts.append(write_raster(tmp_path / f"layout{number}.tif", values, **options))
    (tmp_path / "tiles.txt").write_text("left.tif\nright.tif\n")
    write_raster(tmp_path / "left.tif", values[:, :, :9], nodata=-1)
    write_raster(tmp_path / "right.tif", values[:, :, 9:], NORTH_UP @ Affine.translation(9, 0), nodata=-1)
    layouts.append(tmp_path / "tiles.txt")
    maps = []
    for number, path in enumerate(layouts):
        out = tmp_path / f"map{number}.tif"
        run("classify", "--scene", path, "--lidar", heights, "--out", out, "-w", work)
        maps.append(np.concatenate([read(out), read(tmp_path / f"map{number}_confidence.tif")]))
    for got in maps[1:]:
        np.testing.assert_array_equal(got, maps[0])


def test_derived_layers_are_the_same_when_another_scene_is_mapped(tmp_path, preset):
    image, heights = plot(tmp_path, "plot", 1)
    work = tmp_path / "work"
    run("pretrain", image, heights, "-w", work, "--preset", preset, "--derive", "slope,height-above-ground")
    run("fewshot", labels(tmp_path / "labels.gpkg"), "-w", work)
    run("classify", "--out", tmp_path / "own.tif", "-w", work, "--tile", 7)
    half = np.ones((20, 16), np.uint8)
    half[:9] = 0
    run("classify", "--out", tmp_path / "half.tif", "-w", work, "--mask", write_raster(tmp_path / "mask.tif", half))
    np.testing.assert_array_equal(read(tmp_path / "half.tif") > 0, (read(tmp_path / "own.tif") > 0) & (half == 1))
    run("classify", "--scene", image, "--lidar", heights, "--out", tmp_path / "given.tif", "-w", work)
    for ending in ("", "_confidence"):
        np.testing.assert_array_equal(read(tmp_path / f"own{ending}.tif"), read(tmp_path / f"given{ending}.tif"))
    facts = json.loads((work / "workspace.json").read_text())
    assert facts["scenes"][0]["lidar_names"] == ["plot", "slope of plot", "height-above-ground of plot"]


def test_the_map_can_be_on_the_finer_grid_of_the_lidar(tmp_path, preset):
    image, _ = plot(tmp_path, "plot", 1)
    fine = np.random.default_rng(0).normal(5, 2, (78, 62)).astype("float32")
    lidar = write_raster(tmp_path / "fine.tif", fine, NORTH_UP @ Affine.translation(0.3, 0.4) @ Affine.scale(0.25))
    work = tmp_path / "work"
    run("pretrain", image, lidar, "-w", work, "--preset", preset, "--grid", "lidar")
    run("fewshot", labels(tmp_path / "labels.gpkg"), "-w", work)
    run("classify", "--out", tmp_path / "map.tif", "-w", work)
    run("classify", "--scene", image, "--lidar", lidar, "--out", tmp_path / "given.tif", "-w", work)
    with rasterio.open(tmp_path / "map.tif") as mapped, rasterio.open(lidar) as reference:
        assert mapped.transform.a == reference.transform.a == 0.5
        assert mapped.shape == (78, 62)
        assert (mapped.read() > 0).mean() > 0.95
    np.testing.assert_array_equal(read(tmp_path / "map.tif"), read(tmp_path / "given.tif"))


def test_a_scene_without_georeference_says_so_in_the_output(tmp_path, preset):
    image, _ = plot(tmp_path, "plot", 1)
    bare = write_raster(tmp_path / "bare.tif", read(image), None, None)
    work = tmp_path / "work"
    run("pretrain", bare, "-w", work, "--preset", preset)
    truth = np.zeros((20, 16), np.uint8)
    truth[2:5, 2:5], truth[2:5, 12:15] = 1, 2
    run("fewshot", write_raster(tmp_path / "truth.tif", truth, None, None), "-w", work)
    run("classify", "--out", tmp_path / "map.tif", "-w", work)
    facts = json.loads((tmp_path / "map.json").read_text())
    assert facts["notes"] == ["bare.tif: has no georeference; maps will have none either"]
