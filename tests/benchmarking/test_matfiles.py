import numpy as np
import pytest
from scipy.io import savemat

from diffclip_geo.benchmarking.catalogue import open_scene
from diffclip_geo.benchmarking.matfiles import CLASSES, LAYOUTS
from diffclip_geo.errors import OptionError, RasterError

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.uniform(0, 1000, (9, 12, 10)).astype(np.float32)
LIDAR = RANDOM.uniform(0, 30, (9, 12)).astype(np.float32)


def labels(classes):
    return np.resize(np.arange(classes + 1), (9, 12)).astype(np.uint8)


def write(folder, layout, parts):
    """The files of a layout; `parts` are the label maps."""
    folder.mkdir()
    contents = {}
    for variable, value in zip((layout.image, layout.lidar, *layout.labels), (IMAGE, LIDAR, *parts), strict=True):
        contents.setdefault(variable.file, {})[variable.name] = value
    for file, content in contents.items():
        savemat(folder / file, content)


@pytest.mark.parametrize(
    "name, layout",
    [(name, layout) for name, layouts in LAYOUTS.items() for layout in layouts],
    ids=[f"{name}-{number}" for name, layouts in LAYOUTS.items() for number in range(len(layouts))],
)
def test_layouts(tmp_path, name, layout):
    truth = labels(len(CLASSES[name]))
    half = np.indices(truth.shape)[1] < 6
    write(tmp_path / name, layout, [truth] if len(layout.labels) == 1 else [truth * half, truth * ~half])
    case = open_scene(name, tmp_path)
    assert case.name == name and case.classes == CLASSES[name]
    assert np.array_equal(case.tiles[0].truth, truth)
    assert np.array_equal(case.tiles[0].block.hsi, IMAGE.transpose(2, 0, 1))
    assert np.array_equal(case.tiles[0].block.lidar[0], LIDAR)


def test_muufl_as_its_publisher_gives_it(tmp_path):
    truth = labels(11).astype(float)
    truth[truth == 0] = -1
    flights = np.empty(2, object)
    flights[:] = [{"z": np.stack([LIDAR, LIDAR + 1], -1)}, {"z": np.stack([LIDAR + 2, LIDAR + 3], -1)}]
    scene = {"Data": IMAGE, "Lidar": flights, "sceneLabels": {"labels": truth}}
    savemat(tmp_path / "muufl_gulfport_campus_1_hsi_220_label.mat", {"hsi": scene})
    case = open_scene(f"muufl={tmp_path}", tmp_path / "elsewhere")
    assert case.tiles[0].block.lidar.shape == (4, 9, 12)
    assert np.array_equal(case.tiles[0].truth, np.maximum(truth, 0))


def test_variable_names_are_compared_without_case(tmp_path):
    write(tmp_path / "a", LAYOUTS["trento"][0], [labels(6), labels(6)])
    savemat(tmp_path / "a" / "TRLabel.mat", {"trlabel": labels(6)})
    savemat(tmp_path / "a" / "HSI.mat", {"whatever": IMAGE})
    assert open_scene(f"trento={tmp_path / 'a'}", tmp_path).truth.max() == 6


def test_bad_scenes_are_told_in_one_line(tmp_path):
    with pytest.raises(OptionError, match="scene 'paris': is not known"):
        open_scene("paris", tmp_path)
    with pytest.raises(RasterError, match="there is no such folder"):
        open_scene("trento", tmp_path)
    with pytest.raises(RasterError, match=r"does not hold the trento scene; put there one of: HSI\.mat"):
        open_scene(f"trento={tmp_path}", tmp_path)
    with pytest.raises(RasterError, match="does not hold the berlin_hymap scene"):
        open_scene(f"berlin_hymap={tmp_path}", tmp_path)
    write(tmp_path / "b", LAYOUTS["trento"][0], [labels(7), labels(7)])
    with pytest.raises(RasterError, match="has label 7, trento has 6 classes"):
        open_scene(f"trento={tmp_path / 'b'}", tmp_path)
    write(tmp_path / "c", LAYOUTS["trento"][0], [labels(6), labels(6)])
    savemat(tmp_path / "c" / "LiDAR.mat", {"LiDAR": LIDAR[:4]})
    with pytest.raises(RasterError, match="on one grid"):
        open_scene(f"trento={tmp_path / 'c'}", tmp_path)
    (tmp_path / "c" / "HSI.mat").write_bytes(b"no MATLAB file at all, only some text" * 10)
    with pytest.raises(RasterError, match=r"HSI\.mat: cannot be read"):
        open_scene(f"trento={tmp_path / 'c'}", tmp_path)
