import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from diffclip_geo.cli.main import main
from rasterio.transform import from_origin


@pytest.fixture
def image(tmp_path):
    values = np.random.default_rng(0).uniform(1, 9, (4, 12, 10)).astype("float32")
    profile = {"driver": "GTiff", "count": 4, "height": 12, "width": 10, "dtype": "float32", "crs": "EPSG:32633"}
    with rasterio.open(
        tmp_path / "hsi.tif", "w", transform=from_origin(500_000, 5_800_000, 2, 2), **profile
    ) as dataset:
        dataset.write(values)
    return tmp_path / "hsi.tif"


def test_prints_what_is_understood(image, capsys):
    assert main(["info", str(image), "--bad-bands", "2-3"]) == 0
    out = capsys.readouterr().out
    assert "12 rows × 10 columns of 2 m, EPSG:32633" in out
    assert "2 of 4 bands; dropped 2-3 (listed)" in out


def test_prints_json(image, capsys):
    assert main(["info", str(image), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["scenes"][0]["grid"]["height"] == 12


def test_patterns_are_several_images(image, capsys):
    (image.parent / "other.tif").write_bytes(image.read_bytes())
    assert main(["info", str(image.parent / "*.tif")]) == 0
    out = capsys.readouterr().out
    assert out.index("hsi.tif") < out.index("other.tif")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.tif"], "missing.tif: does not exist; check the path"),
        (["IMAGE", "--labels", "missing.shp"], "missing.shp: does not exist; check the path"),
        (["IMAGE", "--bad-bands", "9"], "--bad-bands: 9 is not within 1-4"),
        (["IMAGE", "--labels", "IMAGE"], "hsi.tif: has 4 bands of float32; give a label raster"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(image, arguments, said):
    arguments = [str(image) if argument == "IMAGE" else argument for argument in arguments]
    command = [sys.executable, "-c", "import sys; from diffclip_geo.cli.main import main; sys.exit(main())", "info"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, cwd=image.parent)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_a_path_is_required(capsys):
    assert main(["info"]) == 2
