"""What the QGIS plugin Deepness does with a model, and what comes of it."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
from raster_files import write_envi, write_raster
from students import CLASSES, random_student, raster, tiny_engine

from diffclip_geo.deepness import NO_DATA, OVERLAP, TILE, check_scene, deepness_model
from diffclip_geo.errors import OptionError
from diffclip_geo.margins import read_with_margin
from diffclip_geo.onnx_graph import IR, OPSET
from diffclip_geo.scenes import Block, Scene
from diffclip_geo.views import REACH

NAMES = ("tree", "roof", "lawn")


def as_the_plugin_does(model: bytes, layer: np.ndarray, outside: float) -> np.ndarray:
    """Classes of a layer `[C, H, W]`, 0 is no data: tiles that overlap, of each the inner part; `outside` the image."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert taken.shape == [1, len(layer), TILE, TILE] and given.shape == [1, CLASSES + 1, TILE, TILE]
    stride = round(TILE * (1 - OVERLAP / 100))
    inner = (TILE - stride) // 2
    _, height, width = layer.shape
    rows, columns = (-(-size // stride) * stride for size in (height, width))
    border = ((0, 0), (inner, rows - height + TILE), (inner, columns - width + TILE))
    around = np.pad(layer, border, constant_values=outside)
    found = np.zeros((rows, columns), int)
    for row in range(0, rows, stride):
        for column in range(0, columns, stride):
            tile = np.float32(around[None, :, row : row + TILE, column : column + TILE] * 1.0 / 255.0)
            classes = session.run(None, {taken.name: tile})[0][0].argmax(0)
            found[row : row + stride, column : column + stride] = classes[inner:, inner:][:stride, :stride]
    return found[:height, :width]


def expected(engine, scene: Scene) -> np.ndarray:
    block = read_with_margin(scene, 0, 0, *scene.grid.shape, engine.margin)
    found = np.zeros(scene.grid.shape, int)
    valid = block.valid[engine.margin : -engine.margin, engine.margin : -engine.margin]
    found[valid] = 1 + engine.probabilities(block, engine.margin).argmax(1)
    return found


def files(folder: Path, block: Block, nodata: float | None) -> Scene:
    """With one band that is bad, and nodata where the block has gaps."""
    image = np.concatenate([block.hsi[:2], np.zeros_like(block.hsi[:1]), block.hsi[2:]])
    image = np.where(block.valid, image, 0 if nodata is None else nodata).astype(np.float32)
    write_raster(folder / "image.tif", image, nodata=nodata)
    write_raster(folder / "lidar.tif", block.lidar)
    return Scene.open(folder / "image.tif", [folder / "lidar.tif"], bad_bands="3")


@pytest.mark.parametrize("nodata", [-9999.0, 0.0, None])
def test_the_plugin_makes_the_map_of_the_fast_engine(tmp_path, nodata):
    block = raster(300, 270)
    scene = files(tmp_path, block, nodata)
    engine = tiny_engine(random_student(block, 0.4), cell=64)
    layers = [rasterio.open(path).read() for path in (scene.hsi_path, *scene.lidar_paths)]
    model = deepness_model(engine.model, scene, NAMES).SerializeToString()
    found = as_the_plugin_does(model, np.concatenate(layers), nodata or 0.0)
    wanted = expected(engine, scene)
    assert ((found == 0) == (wanted == 0)).all() and (wanted == 0).any()
    assert (found == wanted).mean() > 0.999


def test_reflectance_in_integers_is_divided_as_the_header_says(tmp_path):
    block = raster(60, 50, layers=0)
    stored = np.where(block.valid, 10 * np.clip(block.hsi, 1, 3000), -1).round().astype(np.int16)
    path = write_envi(tmp_path / "i.bsq", stored, fields="reflectance scale factor = 10\ndata ignore value = -1")
    scene = Scene.open(path)
    engine = tiny_engine(random_student(block, 0.4), cell=64)
    model = deepness_model(engine.model, scene, NAMES).SerializeToString()
    found, wanted = as_the_plugin_does(model, stored, -1), expected(engine, scene)
    assert (found == wanted).mean() > 0.999 and (wanted == 0).any()


def test_the_file_is_one_that_the_plugin_loads(tmp_path):
    block = raster(40, 40)
    scene = files(tmp_path, block, -9999.0)
    model = deepness_model(random_student(block, 0.4).model().SerializeToString(), scene, NAMES)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == IR <= 8 and [one.version for one in model.opset_import] == [OPSET]
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert facts["model_type"] == "Segmentor"
    assert facts["class_names"] == {"0": NO_DATA, "1": "tree", "2": "roof", "3": "lawn"}
    assert facts["resolution"] == 200.0  # centimetres
    assert facts["tile_size"] == TILE and TILE * facts["tiles_overlap"] / 100 >= 2 * REACH


def test_a_scene_without_projection_has_no_resolution(tmp_path):
    block = raster(40, 40, layers=0)
    scene = Scene.open(write_raster(tmp_path / "i.tif", block.hsi, crs="EPSG:4326"))
    model = deepness_model(random_student(block).model().SerializeToString(), scene, NAMES)
    assert "resolution" not in {entry.key for entry in model.metadata_props}


def test_layers_that_the_plugin_cannot_make_are_refused(tmp_path):
    block = raster(40, 40)
    image, lidar = write_raster(tmp_path / "i.tif", block.hsi), write_raster(tmp_path / "l.tif", block.lidar)
    with pytest.raises(OptionError, match="derived from LiDAR"):
        check_scene(Scene.open(image, [lidar], derive="slope"))
