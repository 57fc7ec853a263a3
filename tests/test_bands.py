import numpy as np
import pytest
import rasterio
from raster_files import real_scene, spectra, write_envi, write_raster

from diffclip_geo.bands import Bands, match_bands, parse_ranges, read_bands
from diffclip_geo.errors import OptionError, RasterError


def bands_of(path, bad_bands=""):
    with rasterio.open(path) as dataset:
        return read_bands(dataset, bad_bands)


def sensor(wavelengths, good=None):
    count = len(wavelengths)
    return Bands(("b",) * count, tuple(wavelengths), None, tuple(good or [True] * count), ("",) * count)


@pytest.mark.parametrize(
    ("units", "values", "widths"),
    [
        ("Micrometers", "0.45, 0.55, 2.2", "0.01, 0.02, 0.03"),
        ("Nanometers", "450, 550, 2200", "10, 20, 30"),
        ("Unknown", "0.45, 0.55, 2.2", "0.01, 0.02, 0.03"),
        ("Unknown", "450, 550, 2200", "10, 20, 30"),
    ],
)
def test_envi_header_tells_wavelengths_in_any_unit_and_bad_bands(tmp_path, units, values, widths):
    fields = f"wavelength units = {units}\nwavelength = {{{values}}}\nfwhm = {{{widths}}}\nbbl = {{1, 0, 1}}"
    bands = bands_of(write_envi(tmp_path / "a.bsq", spectra(3, 4, 5), fields=fields))
    assert bands.wavelengths == (450.0, 550.0, 2200.0)
    assert bands.fwhm == (10.0, 20.0, 30.0)
    assert bands.kept.tolist() == [0, 2]
    assert bands.dropped() == {"bbl": "2"}


def test_geotiff_tells_wavelengths_by_imagery_domain_band_tags_or_description(tmp_path):
    path = write_raster(tmp_path / "a.tif", spectra(2, 4, 5))
    with rasterio.open(path, "r+") as dataset:
        for index, micrometres in ((1, "0.45"), (2, "0.865")):
            dataset.update_tags(index, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=micrometres, FWHM_UM="0.01")
    assert bands_of(path).wavelengths == (450.0, 865.0)
    assert bands_of(path).fwhm == (10.0, 10.0)

    path = write_raster(tmp_path / "b.tif", spectra(2, 4, 5))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(1, wavelength="450.5", wavelength_units="Nanometers")
        dataset.update_tags(2, wavelength="865.25", wavelength_units="Nanometers", bbl="0")
    assert bands_of(path).wavelengths == (450.5, 865.25)
    assert bands_of(path).kept.tolist() == [0]

    path = write_raster(tmp_path / "c.tif", spectra(2, 4, 5))
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("band 8 (0.455400 Micrometers)", "865.5 nm")
    assert bands_of(path).wavelengths == (455.4, 865.5)


def test_a_file_without_wavelengths_has_none(tmp_path):
    bands = bands_of(write_raster(tmp_path / "a.tif", spectra(3, 4, 5)))
    assert bands.wavelengths is None
    assert bands.fwhm is None
    assert bands.names == ("band 1", "band 2", "band 3")


def test_listed_bands_are_dropped_beside_the_header_s(tmp_path):
    path = write_envi(tmp_path / "a.bsq", spectra(8, 4, 5), fields="bbl = {0,1,1,1,1,1,1,1}")
    bands = bands_of(path, "1-3, 7")
    assert bands.dropped() == {"bbl": "1", "listed": "2-3,7"}
    assert bands.to_text() == "4 of 8 bands; dropped 1 (bbl); 2-3,7 (listed)"
    assert Bands.from_dict(bands.to_dict()) == bands


@pytest.mark.parametrize(("text", "said"), [("x", "'x'"), ("3-1", "3-1"), ("0", "1-8"), ("9", "1-8"), ("1-9", "1-9")])
def test_a_wrong_list_is_named(text, said):
    with pytest.raises(OptionError, match=said):
        parse_ranges(text, 8)


@pytest.mark.parametrize("field", ["wavelength = {400, 500}", "bbl = {1, 1}", "fwhm = {10, 10}"])
def test_a_header_for_another_number_of_bands_is_an_error(tmp_path, field):
    path = write_envi(tmp_path / "a.bsq", spectra(3, 4, 5), fields=field)
    with pytest.raises(RasterError, match=r"a\.bsq: its header lists 2 values of \w+ for 3 bands; correct the header"):
        bands_of(path)


def test_no_band_left_is_an_error(tmp_path):
    path = write_raster(tmp_path / "a.tif", spectra(3, 4, 5))
    with pytest.raises(RasterError, match="every band is marked bad"):
        bands_of(path, "1-3")


def test_matching_follows_wavelengths_not_positions():
    wanted = sensor([450, 550, 650], [True, False, True])
    assert match_bands(wanted, sensor([400, 449, 551, 650.5, 700]), "new.tif").tolist() == [1, 3]


def test_matching_the_same_sensor_goes_by_position():
    # Two detectors overlap in wavelength, as in many sensors.
    wanted = sensor([950.0, 1000.0, 960.0, 1010.0])
    assert match_bands(wanted, sensor([950.1, 1000.0, 960.2, 1010.0]), "new.tif").tolist() == [0, 1, 2, 3]


def test_a_missing_band_is_named():
    with pytest.raises(RasterError, match=r"new\.tif: has no band at 650 nm \(1 of the 3 bands in use"):
        match_bands(sensor([450, 550, 650]), sensor([450, 550, 700]), "new.tif")


def test_without_wavelengths_the_counts_must_agree():
    wanted = Bands(("a", "b"), None, None, (True, True), ("", ""))
    assert match_bands(wanted, sensor([450, 550]), "new.tif").tolist() == [0, 1]
    with pytest.raises(RasterError, match="has 3 bands, not 2"):
        match_bands(wanted, sensor([450, 550, 650]), "new.tif")


def test_real_headers():
    hymap = bands_of(real_scene("berlin_hymap") / "HyMap02_Berlin_Urban_Gradient_2009.bsq")
    assert len(hymap) == 111
    assert hymap.wavelengths is not None
    assert hymap.wavelengths[:2] == (455.4, 469.4)
    enmap = bands_of(real_scene("berlin_enmap") / "HighResolution_BerlinUrbanGradient.bsq")
    assert enmap.wavelengths == (484.3, 558.4, 646.5, 804.6)
    assert enmap.fwhm == (14.8, 15.2, 15.3, 16.2)
    assert np.all(enmap.good)
