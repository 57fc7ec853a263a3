import pytest
import rasterio
from diffclip_geo.cli.main import main


def test_writes_the_scene_and_says_where(tmp_path, capsys):
    assert main(["simulate", "--out", str(tmp_path / "new"), "--size", "40x50", "--bands", "8", "--seed", "4"]) == 0
    printed = capsys.readouterr().out
    for name in ("scene.tif", "scene.hdr", "lidar.tif", "labels.shp", "truth.tif"):
        assert str(tmp_path / "new" / name) in printed
    with rasterio.open(tmp_path / "new" / "scene.tif") as hsi:
        assert (hsi.height, hsi.width, hsi.count) == (40, 50, 8)


def test_existing_files_are_an_error_in_one_line(tmp_path, capsys):
    arguments = ["simulate", "--out", str(tmp_path), "--size", "32x32", "--bands", "6"]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(arguments) == 1
    assert (
        capsys.readouterr().err
        == f"Error: {tmp_path / 'scene.tif'}: exists already; use --overwrite or another folder\n"
    )
    assert main([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize("arguments", [["--size", "128"], ["--size", "axb"], ["--bands", "many"], []])
def test_wrong_usage(tmp_path, arguments):
    out = ["--out", str(tmp_path / "x")] if arguments else []
    assert main(["simulate", *out, *arguments]) == 2
