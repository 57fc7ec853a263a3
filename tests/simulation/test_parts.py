"""The parts of the simulator against closed forms and by-hand geometry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffclip_geo.simulation import radiometry
from diffclip_geo.simulation.fields import SmoothField
from diffclip_geo.simulation.layout import draw_town
from diffclip_geo.simulation.materials import CLASSES, MATERIALS, WATER, end_members
from diffclip_geo.simulation.sensor import Sensor, diffuse_share
from diffclip_geo.simulation.streets import Frame


@given(seed=st.integers(0, 10_000), s=st.floats(-3000, 3000), t=st.floats(-3000, 3000))
def test_street_frame_inverts(seed, s, t):
    frame = Frame.draw(np.random.default_rng(seed))
    x, y = frame.to_map(s, t)
    assert frame.to_street(np.float64(x), np.float64(y)) == pytest.approx((s, t), abs=0.1)


def test_field_rows_are_parts_of_the_whole_with_unit_variance():
    field = SmoothField.draw(np.random.default_rng(0), (600, 500), 5.0)
    whole = field.rows(0, 600, 500)
    assert np.allclose(field.rows(123, 200, 500), whole[123:200], atol=1e-5)
    assert abs(whole.mean()) < 0.1
    assert whole.std() == pytest.approx(1, abs=0.1)


def test_spectra_are_reflectances():
    spectra = end_members(np.arange(350.0, 2551.0))
    assert spectra.shape[:2] == (len(MATERIALS), 3)
    assert spectra.min() > 0
    assert spectra.max() < 0.9


def test_sensor_response_averages_over_its_width():
    sensor = Sensor.evenly(144)
    grid = np.arange(350.0, 2551.0)
    response = sensor.response(grid)
    assert np.allclose(response.sum(axis=1), 1)
    assert np.allclose((response @ grid)[2:-2], sensor.wavelengths[2:-2], atol=0.1)
    band = response[70] / response[70].max()
    assert (band >= 0.5).sum() == pytest.approx(sensor.fwhm[70], abs=1.5)


def test_noise_drowns_flagged_bands_only():
    sensor = Sensor.evenly(144)
    sigma = sensor.noise(np.full((144, 1), 0.3, np.float32))[:, 0]
    assert sigma[~sensor.good].max() > 0.1
    assert sigma[sensor.good].max() < 0.1
    assert np.median(0.3 / sigma[(sensor.wavelengths > 500) & (sensor.wavelengths < 700)]) > 200


def test_skylight_is_blue():
    assert 0.3 < diffuse_share(np.array(400.0)) < 0.5
    assert diffuse_share(np.array(2200.0)) < 0.05


def test_shadow_of_a_wall_has_the_length_the_sun_gives():
    cell, height = 0.5, 8.0
    ground = np.zeros((120, 60), np.float32)
    ground[90:93] = height  # an east-west wall; the sun is in the south-south-east
    dark = radiometry.shadow(ground, cell)[:90, 30] > 0.5
    expected = height * np.tan(radiometry.SUN_ZENITH) * -np.cos(radiometry.SUN_AZIMUTH)
    assert dark.sum() * cell == pytest.approx(expected, abs=1.0)
    assert dark[-1] and not radiometry.shadow(ground, cell)[95:].any()


def test_slopes_towards_the_sun_are_brighter():
    town = draw_town(0, (240, 240), 0.8)
    light = radiometry.light_on(town, 0.8)
    # Slope_y > 0: rising southwards, so facing north, away from the sun.
    roof = (town.canvas.height > 3) & (np.abs(town.canvas.slope_y) > 0.4) & np.isin(town.canvas.cover, (3, 4))
    north, south = roof & (town.canvas.slope_y > 0), roof & (town.canvas.slope_y < 0)
    assert np.median(light.direct[south]) > np.median(light.direct[north]) + 0.3
    assert light.direct.min() > 0


def test_fractions_of_a_pixel_sum_to_one_and_rows_do_not_depend_on_chunks():
    size = 20
    cells = (size + 2 * radiometry.MARGIN) * radiometry.FACTOR
    town = draw_town(5, (cells, cells), 1.0)
    sensor = Sensor.evenly(6)
    rows = list(radiometry.observe(town, sensor, 5, 1.0, chunk=8))
    assert [r.start for r in rows] == [0, 8, 16]
    fractions = np.concatenate([r.fractions for r in rows], axis=1)
    assert fractions.shape == (len(CLASSES), size, size)
    assert np.allclose(fractions.sum(axis=0), 1, atol=1e-5)
    whole = next(radiometry.observe(town, sensor, 5, 1.0, chunk=size))
    assert np.allclose(fractions, whole.fractions, atol=1e-6)


def test_water_is_flat_and_lowest():
    town = draw_town(1, (360, 360), 0.85)
    river = (town.canvas.cover == WATER) & (town.terrain < 33)
    assert river.any()
    assert np.ptp(town.surface[river]) == 0
    assert town.surface[river].max() <= town.terrain.min()


@pytest.mark.parametrize("seed", range(4))
def test_small_scenes_hold_every_class(seed):
    town = draw_town(seed, (384, 384), 2.5 / 3)
    counts = np.bincount(town.canvas.cover.ravel(), minlength=len(CLASSES))
    assert counts.min() > 300
