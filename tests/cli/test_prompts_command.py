import numpy as np
import pyogrio
import pytest
import shapely
from diffclip_geo.cli.main import main


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.shp"
    points = shapely.to_wkb(shapely.points([1.0, 2.0], [1.0, 2.0]))
    names = [np.array(["tree", "moss"], object)]
    pyogrio.raw.write(path, points, names, ["kind"], geometry_type="Point", crs="EPSG:32633")
    return path


def test_init_writes_a_file_and_says_what_to_do(labels, tmp_path, capsys):
    out = tmp_path / "t.toml"
    assert main(["prompts", "init", str(labels), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "No description known of moss" in printed and f"--texts {out}" in printed
    assert out.read_text().count(" = ") == 2
    assert main(["prompts", "init", str(labels), "--out", str(out)]) == 1
    assert capsys.readouterr().err == f"Error: {out}: exists already; choose another name or add --overwrite\n"


def test_describe_needs_an_endpoint_that_answers(labels, tmp_path, capsys):
    assert main(["prompts", "describe", str(labels)]) == 2
    arguments = ["prompts", "describe", str(labels), "--model", "m", "--out", str(tmp_path / "t.toml")]
    capsys.readouterr()
    assert main([*arguments, "--endpoint", "http://127.0.0.1:9/v1"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*arguments, "--endpoint", "http://127.0.0.1:9/v1", "--api-key-env", "NO_SUCH_KEY"]) == 1
    assert "environment variable NO_SUCH_KEY: is not set" in capsys.readouterr().err


def test_the_group_lists_its_commands(capsys):
    assert main(["prompts", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "init" in printed and "describe" in printed
