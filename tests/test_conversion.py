import numpy as np
import pytest
import rasterio
from affine import Affine
from diffclip_geo.cli.main import main
from raster_files import NORTH_UP, UTM, real_scene, spectra, write_envi, write_raster
from scipy.io import savemat

from diffclip_geo.conversion import convert
from diffclip_geo.errors import DiffClipGeoError
from diffclip_geo.scenes import Scene

CUBE = np.arange(12 * 10 * 5, dtype=np.uint16).reshape(12, 10, 5)


def mat(folder, version=5, **arrays):
    path = folder / "scene.mat"
    if version == 5:
        savemat(path, arrays)
        return path
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = np.atleast_2d(array).T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def opened(path):
    with rasterio.open(path) as dataset:
        return dataset.read(), dataset.profile


@pytest.mark.parametrize("version", [5, 7.3])
def test_matlab_cubes_of_both_versions(tmp_path, version):
    path = mat(tmp_path, version, cube=CUBE, gt=np.ones((12, 10), np.uint8), wl=np.linspace(400, 800, 5))
    done = convert(path, tmp_path / "cube.tif", wavelengths="wl", nodata=0)
    values, profile = opened(tmp_path / "cube.tif")
    np.testing.assert_array_equal(values, CUBE.transpose(2, 0, 1))
    assert (profile["dtype"], profile["nodata"], profile["tiled"]) == ("uint16", 0, True)
    assert done.wavelengths == (400.0, 500.0, 600.0, 700.0, 800.0)
    scene = Scene.open(tmp_path / "cube.tif")
    assert scene.bands.wavelengths == done.wavelengths
    convert(path, tmp_path / "gt.tif", variable="gt")
    assert opened(tmp_path / "gt.tif")[0].tolist() == [[[1] * 10] * 12]


@pytest.mark.parametrize("version", [5, 7.3])
def test_a_file_of_one_array_needs_no_name(tmp_path, version):
    convert(mat(tmp_path, version, data=CUBE.astype("float64")), tmp_path / "out.tif")
    np.testing.assert_array_equal(opened(tmp_path / "out.tif")[0], CUBE.transpose(2, 0, 1))


def test_numpy_arrays_in_either_order(tmp_path):
    np.save(tmp_path / "hwb.npy", CUBE)
    np.save(tmp_path / "bhw.npy", CUBE.transpose(2, 0, 1))
    np.save(tmp_path / "labels.npy", CUBE[..., 0] > 50)
    for name in ("hwb", "bhw"):
        convert(tmp_path / f"{name}.npy", tmp_path / f"{name}.tif", crs="EPSG:32633", bounds=(10, 20, 30, 44))
        values, profile = opened(tmp_path / f"{name}.tif")
        np.testing.assert_array_equal(values, CUBE.transpose(2, 0, 1))
        assert profile["transform"] == Affine(2, 0, 10, 0, -2, 44)
        assert profile["crs"] == UTM
    convert(tmp_path / "bhw.npy", tmp_path / "forced.tif", axes="hwb")
    assert opened(tmp_path / "forced.tif")[0].shape == (10, 5, 12)
    convert(tmp_path / "labels.npy", tmp_path / "labels.tif")
    np.testing.assert_array_equal(opened(tmp_path / "labels.tif")[0][0], CUBE[..., 0] > 50)


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_envi_keeps_everything_a_scene_reads(tmp_path, interleave):
    fields = (
        "wavelength units = Micrometers\nwavelength = {0.4512, 0.5500001, 0.65, 2.2}\nfwhm = {0.01, 0.01, 0.02, 0.03}\n"
        "bbl = {1, 1, 0, 1}\ndata ignore value = -99\nreflectance scale factor = 10000\nband names = {a, b, c, d}"
    )
    values = spectra(4, 300, 280, dtype="int16")
    values[:, 5:9, 7] = -99
    path = write_envi(tmp_path / "scene.dat", values, interleave=interleave, fields=fields)
    convert(path.with_suffix(".hdr"), tmp_path / "scene.tif")
    before, after = Scene.open(path), Scene.open(tmp_path / "scene.tif")
    assert before.bands == after.bands
    assert before.grid == after.grid
    for got, wanted in zip(after.read(0, 0, 300, 280), before.read(0, 0, 300, 280), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_georeference_of_another_raster(tmp_path):
    np.save(tmp_path / "a.npy", CUBE)
    like = write_raster(tmp_path / "like.tif", spectra(1, 12, 10))
    convert(tmp_path / "a.npy", tmp_path / "out.tif", like=like)
    assert opened(tmp_path / "out.tif")[1]["transform"] == NORTH_UP
    other = write_raster(tmp_path / "other.tif", spectra(1, 6, 10))
    with pytest.raises(DiffClipGeoError, match=r"other\.tif: has 6×10 pixels, the image 12×10; give a raster"):
        convert(tmp_path / "a.npy", tmp_path / "no.tif", like=other)
    assert not (tmp_path / "no.tif").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("400,500,600,700,800", [400, 500, 600, 700, 800]),
        ("0.4 0.5 0.6 0.7 2.5", [400, 500, 600, 700, 2500]),
        ("400-800", [400, 500, 600, 700, 800]),
        ("FILE", [400.5, 500, 600, 700, 800]),
    ],
)
def test_wavelengths_in_every_form(tmp_path, text, expected):
    np.save(tmp_path / "a.npy", CUBE)
    (tmp_path / "wl.txt").write_text("400.5\n500\n600\n700\n800\n")
    text = str(tmp_path / "wl.txt") if text == "FILE" else text
    done = convert(tmp_path / "a.npy", tmp_path / "out.tif", wavelengths=text)
    assert done.wavelengths == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.mat"], "missing.mat: does not exist; check the path"),
        (["text.mat"], "text.mat: cannot be read ("),
        (["short.mat"], "short.mat: cannot be read ("),
        (["text.npy"], "text.npy: cannot be read ("),
        (["objects.npy"], "objects.npy: cannot be read ("),
        (["two.mat"], "two.mat: holds a (12×10×5), b (12×10×5); choose one, e.g. --variable a"),
        (["two.mat", "--variable", "c"], "--variable: 'c' is not in two.mat; choose from a (12×10×5), b (12×10×5)"),
        (["points.mat"], "points.mat: holds no image (points (50×2)); give another file"),
        (["cube.npy", "--wavelengths", "400,500"], "--wavelengths: '400,500' gives 2 values for 5 bands"),
        (["cube.npy", "--wavelengths", "red"], "--wavelengths: cannot read numbers from 'red'; give"),
        (["cube.npy", "--crs", "EPSG:1"], "--crs: 'EPSG:1' is not known; give a code such as"),
        (["cube.npy", "--nodata", "-1"], "--nodata: -1 is no uint16; give a value of that type"),
        (["cube.npy", "--bounds", "9", "0", "1", "1"], "--bounds: are not left, bottom, right, top; give"),
        (["text.dat"], "text.dat: cannot be read as a raster"),
    ],
)
def test_what_cannot_be_converted_is_told(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    for name in ("text.mat", "text.npy", "text.dat"):
        (tmp_path / name).write_text("hello")
    savemat("two.mat", {"a": CUBE, "b": CUBE})
    savemat("points.mat", {"points": np.ones((50, 2))})
    savemat("short.mat", {"a": CUBE})
    (tmp_path / "short.mat").write_bytes((tmp_path / "short.mat").read_bytes()[:300])
    np.save("cube.npy", CUBE)
    np.save("objects.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "out.tif").write_bytes(b"mine")
    assert main(["convert", arguments[0], "out.tif", "--overwrite", *arguments[1:]]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"Error: {said}")
    assert error.count("\n") == 1
    assert (tmp_path / "out.tif").read_bytes() == b"mine"
    assert main(["convert", "cube.npy", "out.tif"]) == 1
    assert "out.tif: exists already" in capsys.readouterr().err


def test_prints_what_was_written(tmp_path, capsys):
    path = mat(tmp_path, data=CUBE)
    assert main(["convert", str(path), str(tmp_path / "out.tif"), "--wavelengths", "400-800"]) == 0
    said = capsys.readouterr().out
    assert "scene.mat: data 12 × 10 × 5 read as 12 rows × 10 columns × 5 bands" in said
    assert "out.tif: has no georeference" in said
    assert "12 × 10 pixels, 5 bands of uint16, 400–800 nm" in said


def test_real_benchmark_files(tmp_path):
    campus = real_scene("houston_campus") / "houston_dataset.mat"
    convert(campus, tmp_path / "hsi.tif", variable="hyprImg", bounds=(0, 0, 512, 512), crs="EPSG:32615")
    convert(campus, tmp_path / "truth.tif", variable="clasLabs", bounds=(0, 0, 512, 512), crs="EPSG:32615")
    scene = Scene.open(tmp_path / "hsi.tif")
    assert scene.grid.shape == (128, 128)
    assert len(scene.bands) == 48
    trento = real_scene("trento_lidar")
    assert convert(trento / "Italy_lidar.mat", tmp_path / "lidar.tif").count == 2
