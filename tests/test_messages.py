"""Every line of docs/messages.md: the message, the exit code, and that nothing that existed is changed."""

import hashlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Future
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from diffclip_geo.cli.main import main
from project_files import labels, plot, preset_file
from raster_files import NORTH_UP, UTM, spectra, write_envi, write_labels, write_raster
from scipy.io import netcdf_file, savemat

from diffclip_geo.fast import Agreement, FastEngine
from diffclip_geo.journal import Journal
from diffclip_geo.scenes import Scene

DOCS = Path(__file__).parent.parent / "docs" / "messages.md"
DOCUMENTED = dict(re.findall(r"^\| (?!What is wrong)(.+?) \| `(.+)` \|$", DOCS.read_text("utf-8"), re.MULTILINE))
CASES = {}


def case(name):
    """Register a function that prepares bad input in the working folder and returns the command line."""

    def register(function):
        CASES[name] = function
        return function

    return register


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A project with a classifier and a map: image.tif, heights.tif, labels.gpkg, work, map.tif and companions."""
    folder = tmp_path_factory.mktemp("finished")
    image, heights = plot(folder, "plot", 1)
    shutil.move(image, folder / "image.tif")
    shutil.move(heights, folder / "heights.tif")
    labels(folder / "labels.gpkg")
    preset_file(folder / "tiny.toml")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["pretrain", "image.tif", "heights.tif", "-w", "work", "--preset", "tiny.toml"]) == 0
        assert main(["fewshot", "labels.gpkg", "-w", "work"]) == 0
        assert main(["classify", "-w", "work", "--out", "map.tif"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    """A copy of the project as the working folder. The workspace reads the images of the copy."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    for name in ("workspace.json",):
        path = folder / "work" / name
        path.write_text(path.read_text("utf-8").replace(str(finished), str(folder)), "utf-8")
    monkeypatch.chdir(folder)
    return folder


def contents(folder):
    """Relative path → hash of every file, and the folders."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def pattern(name):
    """The documented message of a case as a regular expression."""
    text = DOCUMENTED[name].replace("``", "`").replace("\\|", "|")
    return ".*".join(map(re.escape, text.split("…")))


def test_docs_and_cases_are_the_same():
    assert set(DOCUMENTED) == set(CASES)


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_a_bad_input_is_told_and_changes_nothing(name, project, capsys, monkeypatch):
    prepare = CASES[name]
    arguments = prepare(monkeypatch) if prepare.__code__.co_argcount else prepare()
    before = contents(project)
    capsys.readouterr()
    if isinstance(arguments, subprocess.CompletedProcess):
        code, error = arguments.returncode, arguments.stderr
    else:
        code, error = main([str(argument) for argument in arguments]), capsys.readouterr().err
    assert code == 1
    assert "Traceback" not in error
    told = [line for line in re.split(r"[\r\n]+", error) if line.startswith("Error: ")]
    assert len(told) == 1
    assert re.fullmatch(pattern(name), told[0].removeprefix("Error: "))
    assert contents(project) == before


def pretrain(*arguments):
    return ["pretrain", *arguments, "-w", "new", "--preset", "tiny.toml"]


def fewshot(*arguments):
    return ["fewshot", *arguments, "-w", "work"]


def classify(*arguments):
    return ["classify", *arguments, "-w", "work", "--out", "new.tif"]


def points(path, columns, geometry=None, **options):
    count = len(next(iter(columns.values())))
    places = [shapely.Point(500_003 + 4 * index, 5_799_981) for index in range(count)]
    options = {"driver": "GPKG", "geometry_type": "Point"} | options
    return write_labels(Path(path), geometry or places, columns, UTM, **options)


def lock(monkeypatch):
    """A folder `locked` that says it cannot be written; permissions do not stop the superuser."""
    Path("locked").mkdir()
    allowed = os.access

    def access(path, mode, **options):
        return not (Path(path).name == "locked" and mode & os.W_OK) and allowed(path, mode, **options)

    monkeypatch.setattr(os, "access", access)


# Images, LiDAR rasters and masks ----------------------------------------------------------------------------------


@case("The image does not exist")
def _():
    return pretrain("missing.tif")


@case("A folder is given as image")
def _():
    return pretrain("work")


@case("The file is no raster")
def _():
    Path("bad.tif").write_text("hello")
    return pretrain("bad.tif")


@case("Labels are given as image")
def _():
    return pretrain("labels.gpkg")


@case("A MATLAB file is given as image")
def _():
    savemat("scene.mat", {"a": np.ones((9, 9, 4))})
    return pretrain("scene.mat")


@case("A GeoTIFF is cut short")
def _():
    path = write_raster(Path("bad.tif"), spectra(8, 64, 64))
    path.write_bytes(path.read_bytes()[:40_000])
    return pretrain(path)


@case("An ENVI image is cut short")
def _():
    path = write_envi(Path("bad.bsq"), spectra(3, 9, 9))
    path.write_bytes(path.read_bytes()[:-200])
    return pretrain(path)


@case("An ENVI header stands alone")
def _():
    Path("bad.hdr").write_text("ENVI\n")
    return pretrain("bad.hdr")


@case("An ENVI image lacks its header")
def _():
    Path("bad.bsq").write_bytes(b"0" * 1000)
    return pretrain("bad.bsq")


@case("The header is for another number of bands")
def _():
    return pretrain(write_envi(Path("bad.bsq"), spectra(3, 9, 9), fields="wavelength = {400, 500}"))


@case("Pixels are complex numbers")
def _():
    return pretrain(write_raster(Path("bad.tif"), spectra(2, 9, 9).astype("complex64")))


@case("A container holds several rasters")
def _():
    with netcdf_file("bad.nc", "w") as file:
        for axis in ("y", "x"):
            file.createDimension(axis, 9)
        for name in ("a", "b"):
            file.createVariable(name, "f4", ("y", "x"))[:] = 1
    return pretrain("bad.nc")


@case("A listed tile does not exist")
def _():
    Path("tiles.txt").write_text("image.tif\ngone.tif\n")
    return pretrain("tiles.txt")


@case("Listed tiles do not continue each other")
def _():
    write_raster(Path("other.tif"), spectra(5, 9, 9, dtype="int16"), NORTH_UP @ Affine.translation(16.5, 0))
    Path("tiles.txt").write_text("image.tif\nother.tif\n")
    return pretrain("tiles.txt")


@case("A pattern finds nothing")
def _():
    return pretrain("plots/*.tif")


@case("Patterns find different numbers")
def _():
    for name in ("a1", "a2", "b1", "b2", "b3"):
        Path(f"{name}.tif").touch()
    return pretrain("a*.tif", "b*.tif")


@case("Every pixel is nodata")
def _():
    return pretrain(write_raster(Path("bad.tif"), np.full((3, 9, 9), -1, np.int16), nodata=-1))


@case("The image is constant")
def _():
    return pretrain(write_raster(Path("bad.tif"), np.full((3, 9, 9), 5, np.int16)))


@case("Every pixel has NaN or infinity in some band")
def _():
    values = spectra(9, 9, 9)
    for band in range(9):
        values[band, band] = (np.nan, np.inf, -np.inf)[band % 3]
    return pretrain(write_raster(Path("bad.tif"), values))


@case("LiDAR has no data on the image")
def _():
    return pretrain("image.tif", write_raster(Path("bad.tif"), np.full((20, 16), np.nan, np.float32)))


@case("The mask leaves nothing")
def _():
    far = write_labels(Path("far.gpkg"), [shapely.box(0, 0, 9, 9)], {"n": [1]}, UTM, driver="GPKG")
    return pretrain("image.tif", "--mask", far)


@case("The mask has no polygons")
def _():
    return pretrain("image.tif", "--mask", "labels.gpkg")


@case("LiDAR lies elsewhere")
def _():
    return pretrain("image.tif", write_raster(Path("bad.tif"), spectra(1, 9, 9), Affine(2, 0, 0, 0, -2, 9)))


@case("LiDAR covers a part")
def _():
    place = NORTH_UP @ Affine.translation(8, 0)
    return pretrain("image.tif", write_raster(Path("bad.tif"), spectra(1, 20, 16), place))


@case("LiDAR without coordinate system lies elsewhere")
def _():
    return pretrain("image.tif", write_raster(Path("bad.tif"), spectra(1, 9, 9), Affine(1, 0, 13, 0, -1, 52), None))


@case("No georeference, and other sizes")
def _():
    return pretrain("image.tif", write_raster(Path("bad.tif"), spectra(1, 9, 9), None, None))


@case("Images of one project differ in bands")
def _():
    write_raster(Path("plot1.tif"), spectra(5, 9, 9))
    write_raster(Path("plot2.tif"), spectra(4, 9, 9))
    return pretrain("plot*.tif")


@case("--bad-bands cannot be read")
def _():
    return pretrain("image.tif", "--bad-bands", "red")


@case("--bad-bands names a band that is not there")
def _():
    return pretrain("image.tif", "--bad-bands", "4-9")


@case("--bad-bands lists every band")
def _():
    return pretrain("image.tif", "--bad-bands", "1-5")


@case("--derive names an unknown layer")
def _():
    return pretrain("image.tif", "heights.tif", "--derive", "slope,aspect")


@case("--derive without LiDAR")
def _():
    return pretrain("image.tif", "--derive", "slope")


@case("--grid lidar with a coarser raster")
def _():
    coarse = write_raster(Path("coarse.tif"), spectra(1, 10, 8), NORTH_UP @ Affine.scale(2))
    return pretrain("image.tif", coarse, "--grid", "lidar")


@case("A workspace holds a pretrained scene")
def _():
    return ["pretrain", "image.tif", "-w", "work", "--preset", "tiny.toml"]


@case("The workspace cannot be made")
def _():
    Path("file").write_text("")
    return ["pretrain", "image.tif", "-w", "file/work", "--preset", "tiny.toml"]


@case("The workspace is not writable")
def _(monkeypatch):
    lock(monkeypatch)
    return ["pretrain", "image.tif", "-w", "locked", "--preset", "tiny.toml"]


@case("The disk is full while learning")
def _():
    Path("new").mkdir()
    return with_little_space(pretrain("image.tif"))


# Labels -----------------------------------------------------------------------------------------------------------


@case("The labels do not exist")
def _():
    return fewshot("missing.gpkg")


@case("The labels cannot be read")
def _():
    Path("bad.gpkg").write_text("hello")
    return fewshot("bad.gpkg")


@case("The labels hold no feature")
def _():
    return fewshot(write_labels(Path("bad.gpkg"), [], {"c": []}, UTM, driver="GPKG", geometry_type="Point"))


@case("No label lies inside")
def _():
    return fewshot(points("bad.gpkg", {"c": ["a"]}, [shapely.Point(0, 0)]))


@case("There is no field for the class")
def _():
    return fewshot(points("bad.gpkg", {"height": [0.5, 1.5]}))


@case("The named field is not there")
def _():
    return fewshot("labels.gpkg", "--class-field", "species")


@case("Several fields could be the class")
def _():
    return fewshot(points("bad.gpkg", {"a": ["x", "y"], "b": ["x", "y"]}))


@case("The class field holds fractions")
def _():
    return fewshot(points("bad.gpkg", {"height": [0.5, 1.5]}), "--class-field", "height")


@case("A table of points has no coordinates")
def _():
    Path("bad.csv").write_text("name,class\na,b\n")
    return fewshot("bad.csv")


@case("A coordinate is no number")
def _():
    Path("bad.csv").write_text("x,y,class\n1,2,a\n1,two,b\n")
    return fewshot("bad.csv")


@case("The file has several layers")
def _():
    for layer in ("first", "second"):
        points("bad.gpkg", {"c": ["a", "b"]}, layer=layer, append=Path("bad.gpkg").exists())
    return fewshot("bad.gpkg")


@case("One class only")
def _():
    return fewshot(points("bad.gpkg", {"c": ["Tree", "Tree"]}))


@case("Class names differ only in case")
def _():
    return fewshot(points("bad.gpkg", {"c": ["tree", "Tree", "road"]}))


@case("Text is not in the declared encoding")
def _():
    points("bad.shp", {"c": ["Straße", "Wald"]}, driver="ESRI Shapefile", encoding="ISO-8859-1")
    Path("bad.cpg").write_text("UTF-8")
    return fewshot("bad.shp")


@case("Classes contradict each other everywhere")
def _():
    return fewshot(points("bad.gpkg", {"c": ["a", "b"]}, [shapely.Point(500_003, 5_799_981)] * 2))


@case("A class lies on nodata only")
def _():
    values = rasterio.open("image.tif").read()
    values[:, 9] = 0
    write_raster(Path("holes.tif"), values)
    assert main(["pretrain", "holes.tif", "-w", "holes", "--preset", "tiny.toml"]) == 0
    places = [shapely.Point(500_003, 5_799_981), shapely.Point(500_003, 5_799_999)]
    return ["fewshot", points("bad.gpkg", {"c": ["gone", "there"]}, places), "-w", "holes"]


@case("A raster of heights is given as labels")
def _():
    return fewshot("heights.tif")


@case("The table to join does not exist")
def _():
    return fewshot("labels.gpkg", "--join", "missing.csv")


@case("The table shares no column")
def _():
    Path("table.csv").write_text("x,y\n1,2\n")
    return fewshot("labels.gpkg", "--join", "table.csv")


@case("The table knows none of the labels")
def _():
    Path("table.csv").write_text("cover,species\nlawn,x\n")
    return fewshot("labels.gpkg", "--join", "table.csv")


@case("The legend does not exist")
def _():
    return fewshot("labels.gpkg", "--legend", "missing.csv")


@case("The legend gives a code two names")
def _():
    Path("legend.csv").write_text("code,name\n1,a\n1,b\n")
    return fewshot("labels.gpkg", "--legend", "legend.csv")


@case("--shots is 0")
def _():
    return fewshot("labels.gpkg", "--shots", "0")


@case("There is no workspace yet")
def _():
    return ["fewshot", "labels.gpkg", "-w", "none"]


# Mapping ----------------------------------------------------------------------------------------------------------


@case("The workspace has no classifier yet")
def _():
    Path("work/classifier.json").unlink()
    return classify()


@case("The workspace is of another version")
def _():
    path = Path("work/workspace.json")
    path.write_text(re.sub(r'"format": \d+', '"format": 0', path.read_text("utf-8")), "utf-8")
    return classify()


@case("The workspace is damaged")
def _():
    Path("work/workspace.json").write_text('{"format": 1, "scen')
    return classify()


@case("The weights are damaged")
def _():
    path = Path("work/classifier.safetensors")
    path.write_bytes(path.read_bytes()[:-1000])
    return classify()


@case("An image of the workspace is gone")
def _():
    Path("image.tif").unlink()
    return classify()


@case("An image of the workspace has changed")
def _():
    write_raster(Path("image.tif"), spectra(5, 9, 9))
    return classify()


@case("A band is missing in the image to map")
def _():
    for name, first in (("known", 400), ("other", 650)):
        path = write_raster(Path(f"{name}.tif"), rasterio.open("image.tif").read())
        with rasterio.open(path, "r+") as dataset:
            listed = ", ".join(str(first + 100 * index) for index in range(5))
            dataset.update_tags(ns="ENVI", wavelength=f"{{{listed}}}", wavelength_units="nm")
    assert main(["pretrain", "known.tif", "-w", "known", "--preset", "tiny.toml"]) == 0
    assert main(["fewshot", "labels.gpkg", "-w", "known"]) == 0
    return ["classify", "--scene", "other.tif", "-w", "known", "--out", "new.tif"]


@case("The image to map has another number of bands")
def _():
    write_raster(Path("other.tif"), spectra(4, 20, 16))
    return classify("--scene", "other.tif", "--lidar", "heights.tif")


@case("LiDAR is missing for the image to map")
def _():
    return classify("--scene", "image.tif")


@case("LiDAR has another number of bands")
def _():
    write_raster(Path("other.tif"), spectra(2, 20, 16))
    return classify("--scene", "image.tif", "--lidar", "other.tif")


@case("The map exists")
def _():
    return ["classify", "-w", "work", "--out", "map.tif"]


@case("The map is a folder")
def _():
    return ["classify", "-w", "work", "--out", "work"]


@case("The map is an input")
def _():
    return ["classify", "-w", "work", "--out", "image.tif", "--overwrite"]


@case("The folder of the map does not exist")
def _():
    return ["classify", "-w", "work", "--out", "none/map.tif"]


@case("The folder of the map is not writable")
def _(monkeypatch):
    lock(monkeypatch)
    return ["classify", "-w", "work", "--out", "locked/map.tif"]


@case("The disk is full")
def _():
    before = contents(Path())
    done = with_little_space(["classify", "-w", "work", "--out", "map.tif", "--overwrite"])
    assert contents(Path()) == before
    return done


def with_little_space(arguments):
    """Run a command that cannot write files of more than 300 bytes."""

    def few_bytes():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing beyond fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    code = "import sys; from diffclip_geo.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=few_bytes)


@case("Several scenes, one map")
def _():
    for number in (1, 2):
        shutil.copy("image.tif", f"image{number}.tif")
        shutil.copy("heights.tif", f"heights{number}.tif")
    return classify("--scene", "image?.tif", "--lidar", "heights?.tif")


@case("The fast engine makes too much of another map")
def _(monkeypatch):
    agreement = Agreement(0.5, 1000, 0.1)
    monkeypatch.setattr(FastEngine, "load", lambda *_: SimpleNamespace(agreement=agreement))
    return classify("--engine", "fast")


@case("There are too few pixels to distil the fast engine from")
def _():
    mask = np.zeros((20, 16), np.uint8)
    mask[:3, :3] = 1
    return classify("--engine", "fast", "--mask", write_raster(Path("mask.tif"), mask))


@case("A model for Deepness would need layers that are in no raster")
def _():
    manifest = Path("work/workspace.json")
    manifest.write_text(manifest.read_text("utf-8").replace('"derived": []', '"derived": ["slope"]'), "utf-8")
    return ["export", "work", "--format", "deepness"]


@case("The device is not known")
def _():
    return classify("--device", "gpu")


@case("There is no GPU")
def _(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return classify("--device", "cuda")


def _one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


@case("There is no such GPU")
def _(monkeypatch):
    _one_gpu(monkeypatch)
    return classify("--device", "cuda:3")


@case("ONNX Runtime cannot use the GPU")
def _(monkeypatch):
    _one_gpu(monkeypatch)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    return classify("--device", "cuda", "--runtime", "onnx")


@case("ONNX Runtime is not installed")
def _(monkeypatch):
    monkeypatch.delitem(sys.modules, "diffclip_geo.onnx_engine", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    return classify("--runtime", "onnx")


@case("--ram cannot be read")
def _():
    return classify("--ram", "plenty")


@case("--ram is too little for any tile")
def _():
    return classify("--ram", "10MB")


@case("--ram is too little for the whole map, which polygons or the sieve need")
def _():
    return classify("--ram", "10MB", "--polygons", "new.gpkg")


@case("--tile is 0")
def _():
    return classify("--tile", "0")


def interrupted():
    """What a run that was interrupted leaves."""
    journal = Journal(Path("new.tif"))
    journal.begin({"confidence": "margin"}, 1, resume=False)
    journal.add(0, [])
    return journal


@case("An interrupted run had other options, another image or another model")
def _():
    with interrupted():
        pass
    return classify("--resume")


@case("Two runs make one map")
def _(monkeypatch):
    monkeypatch.setattr(Journal, "in_use", interrupted(), raising=False)
    return classify()


@case("The image changes while it is mapped")
def _(monkeypatch):
    add = Journal.add

    def changed(*arguments):
        Path("image.tif").touch()
        add(*arguments)

    monkeypatch.setattr(Journal, "add", changed)
    return classify()


@case("No dask scheduler answers")
def _(monkeypatch):
    monkeypatch.setattr("diffclip_geo.clusters.CONNECT", 0.3)
    return classify("--scheduler", "tcp://127.0.0.1:9")


@case("The dask scheduler ends before the map is complete")
def _(monkeypatch):
    class Ended(nullcontext):
        nthreads = dict

        def get_executor(self, **_):
            return self

        def __enter__(self):
            return self

        def submit(self, *_):
            (future := Future()).cancel()
            future.set_running_or_notify_cancel()
            return future

    monkeypatch.setattr("diffclip_geo.clusters.Client", lambda *_, **__: Ended())
    return classify("--scheduler", "tcp://127.0.0.1:9")


@case("The processes of --scheduler processes are killed again and again")
def _(monkeypatch):
    def killed(*_):
        raise BrokenExecutor

    monkeypatch.setattr("diffclip_geo.schedulers._Processes.submit", killed)
    return classify("--scheduler", "processes")


@case("A raster is given whose model is to be exported")
def _():
    return ["export", "image.tif", "--format", "onnx"]


# Other ways to end ------------------------------------------------------------------------------------------------


def test_wrong_usage_ends_with_2(project, capsys):
    before = contents(project)
    for arguments in (["pretrain"], ["classify", "--nonsense"], ["classify", "--confidence", "none"], ["nonsense"]):
        assert main(arguments) == 2
        assert "Traceback" not in capsys.readouterr().err
    assert contents(project) == before


def test_an_interruption_ends_with_130_and_leaves_everything(project, capsys, monkeypatch):
    before = contents(project)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Scene, "read_into", interrupted)
    assert main(["classify", "-w", "work", "--out", "map.tif", "--overwrite"]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert contents(project) == before


def test_a_traceback_is_shown_on_request_only(project, capsys):
    assert main(["info", "missing.tif", "-vv"]) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "Error: missing.tif: does not exist; check the path" in error
