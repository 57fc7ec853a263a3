import numpy as np
import pytest
import shapely
from raster_files import NORTH_UP, UTM, write_labels, write_raster

from diffclip_geo.errors import LabelError
from diffclip_geo.grid import Grid
from diffclip_geo.labels import read_labels
from diffclip_geo.legends import read_legend

GRID = Grid(12, 10, NORTH_UP, UTM)


def labels(folder, values, name="labels.gpkg", driver="GPKG", **options):
    points = [shapely.Point(500_001 + 2 * index, 5_799_999) for index in range(len(values))]
    return write_labels(folder / name, points, {"class": values}, driver=driver, geometry_type="Point", **options)


def legend(folder, text, encoding="utf-8"):
    path = folder / "legend.csv"
    path.write_text(text, encoding)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "code,name,color\n1,Wald,#004000\n02,Straße,#808080\n9,unused,#000000\n",
        "\ufeffName;Value;R;G;B\nWald;1.0;0;64;0\nStraße;2;128;128;128\n",
        'id\tlabel\tColour\n1\tWald\t"0,64,0"\n2\tStraße\t128,128,128\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_a_table_names_and_colours_codes(tmp_path, text, encoding):
    path = legend(tmp_path, text.lstrip("\ufeff") if encoding == "cp1252" else text, encoding)
    classes = read_labels(labels(tmp_path, [2, 1, 2]), [GRID], legend=path).classes
    assert classes.names == ("Wald", "Straße")
    assert classes.colors == ((0, 64, 0), (128, 128, 128))


def test_a_table_names_the_values_of_a_raster_and_text_codes(tmp_path):
    values = np.zeros((12, 10), np.uint8)
    values[0, :3] = 1, 2, 7
    path = legend(tmp_path, "value,class\n1,water\n2,tree\nACRU,Acer rubrum\n")
    pixels = read_labels(write_raster(tmp_path / "truth.tif", values), [GRID], legend=path)
    assert pixels.classes.names == ("water", "tree", "7")
    assert f"{path}: has no name for 7" in pixels.report.notes
    names = read_labels(labels(tmp_path, ["ACRU", "ACRU"]), [GRID], legend=path).classes.names
    assert names == ("Acer rubrum",)


def test_codes_of_one_name_are_one_class(tmp_path):
    path = legend(tmp_path, "code,name\n1,forest\n2,forest\n3,water\n")
    pixels = read_labels(labels(tmp_path, [1, 2, 3]), [GRID], legend=path)
    assert pixels.classes.names == ("forest", "water")
    assert pixels.counts().tolist() == [2, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "legend.csv: does not exist; check the path given to --legend"),
        ("code,name\n1,a\n1,b\n", "legend.csv: gives 1 the names 'a' and 'b'; keep one of them"),
        ("code\n1\n", "legend.csv: has no columns of codes and names; give a CSV table that begins with code,name"),
        ("", "legend.csv: has no columns of codes and names"),
        ("code,name\n", "legend.csv: names no class"),
        ("a\0b", "legend.csv: is not a text table; give a CSV file to --legend"),
    ],
)
def test_legends_that_tell_nothing_are_errors(tmp_path, text, said):
    path = tmp_path / "legend.csv" if text is None else legend(tmp_path, text)
    with pytest.raises(LabelError) as error:
        read_legend(path)
    assert said in str(error.value)


@pytest.mark.parametrize("names", [["Tree", "tree"], ["bare soil", "bare  soil"]])
def test_names_that_differ_in_case_only_are_an_error(tmp_path, names):
    with pytest.raises(LabelError, match="differ only in case or spaces; give the class one spelling"):
        read_labels(labels(tmp_path, names), [GRID])


# Encodings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "declared", "names"),
    [
        ("UTF-8", "UTF-8", ("Straße", "Wald")),
        ("UTF-8", None, ("Straße", "Wald")),
        ("ISO-8859-1", None, ("Straße", "Wald")),
        ("CP1251", "CP1251", ("Вода", "Лес")),
    ],
)
def test_shapefiles_in_any_encoding(tmp_path, encoding, declared, names):
    path = labels(tmp_path, list(names), "labels.shp", "ESRI Shapefile", encoding=encoding)
    if declared is None:
        path.with_suffix(".cpg").unlink()
    pixels = read_labels(path, [GRID])
    assert pixels.classes.names == names
    guessed = any("does not tell its encoding; read as Windows-1252" in note for note in pixels.report.notes)
    assert guessed == (declared is None and encoding != "UTF-8")


def test_a_shapefile_that_declares_the_wrong_encoding_is_told(tmp_path):
    path = labels(tmp_path, ["Straße", "Wald"], "labels.shp", "ESRI Shapefile", encoding="ISO-8859-1")
    path.with_suffix(".cpg").write_text("UTF-8")
    with pytest.raises(LabelError, match=r"labels\.shp: holds text that is not in utf-8.*into labels\.cpg"):
        read_labels(path, [GRID])
