"""Estimates against the worked examples of the papers, and intervals against many draws from a known population."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffclip_geo.area_estimation import Z95, AreaEstimates, estimate_areas

# Olofsson et al. (2014), table 8: rows are map classes, columns reference classes, as printed there.
OLOFSSON_NAMES = ("Deforestation", "Forest gain", "Stable forest", "Stable non-forest")
OLOFSSON_COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
OLOFSSON_PIXELS = (200_000, 150_000, 3_200_000, 6_450_000)  # of 30 m
LANDSAT_HECTARES = 0.09

# Stehman (2014), table 2: map class and reference class of ten sampled pixels in each of four strata.
STEHMAN_STRATA = (
    "AA AA AA AA AA AC AB BA BB BC",
    "AA BB BB BB BB BB BA BA BB BB",
    "BC BC CC CC CC CD CD CB BB BA",
    "DD DD DD DD DD DD DD DC DC DB",
)
STEHMAN_PIXELS = (40_000, 30_000, 20_000, 10_000)


def with_map_strata(map_by_truth: np.ndarray) -> np.ndarray:
    """Counts [H, truth, map] of a sample stratified by map class."""
    classes = len(map_by_truth)
    counts = np.zeros((classes, classes, classes), int)
    for stratum in range(classes):
        counts[stratum, :, stratum] = map_by_truth[stratum]
    return counts


def olofsson() -> AreaEstimates:
    return estimate_areas(
        with_map_strata(OLOFSSON_COUNTS),
        OLOFSSON_PIXELS,
        OLOFSSON_NAMES,
        finite_population=False,
        strata_are_map_classes=True,
    )


def stehman() -> AreaEstimates:
    counts = np.zeros((4, 4, 4), int)
    for stratum, units in enumerate(STEHMAN_STRATA):
        for mapped, truth in units.split():
            counts[stratum, "ABCD".index(truth), "ABCD".index(mapped)] += 1
    return estimate_areas(counts, STEHMAN_PIXELS, "ABCD")


def test_accuracies_of_olofsson_2014() -> None:
    """Page 54: overall 0.95 ± 0.02; user's and producer's accuracies with their 95 % half-widths."""
    found = olofsson()
    assert (round(found.oa, 2), round(Z95 * found.oa_se, 2)) == (0.95, 0.02)
    assert found.users.round(2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert (Z95 * found.users_se).round(2).tolist() == [0.07, 0.10, 0.04, 0.02]
    assert found.producers.round(2).tolist() == [0.75, 0.85, 0.93, 0.96]
    # Printed as 0.21, 0.23, 0.03, 0.01. Equation 7 gives 0.254 and 0.018 where the paper prints 0.23 and 0.01.
    assert (Z95 * found.producers_se).round(2).tolist() == [0.21, 0.25, 0.03, 0.02]


def test_shares_of_olofsson_2014() -> None:
    """Table 9, which has map classes in rows."""
    assert olofsson().matrix.T.round(4).tolist() == [
        [0.0176, 0, 0.0013, 0.0011],
        [0, 0.0110, 0.0016, 0.0024],
        [0.0019, 0, 0.2967, 0.0213],
        [0.0040, 0.0020, 0.0179, 0.6212],
    ]


def test_areas_of_olofsson_2014() -> None:
    """Page 54: 235,086 ± 68,418 pixels of deforestation; in hectares for all four classes."""
    found = olofsson()
    assert found.pixels == 10_000_000
    assert round(found.share[0], 4) == 0.0235 and round(found.share_se[0], 4) == 0.0035
    pixels = found.share * found.pixels
    assert int(pixels[0]) == 235_086 and round(1.96 * found.share_se[0] * found.pixels) == 68_418
    assert (pixels * LANDSAT_HECTARES).round().tolist() == [21_158, 11_686, 285_770, 581_386]
    assert (1.96 * found.share_se * found.pixels * LANDSAT_HECTARES).round().tolist() == [6_158, 3_756, 15_510, 16_282]
    assert (found.mapped_share * found.pixels).tolist() == list(OLOFSSON_PIXELS)


def test_numerical_example_of_stehman_2014() -> None:
    """Pages 4932 to 4936: areas of A and C, overall accuracy, user's and producer's accuracy of B, cell (2, 3)."""
    found = stehman()
    assert (round(found.share[0], 2), round(found.share_se[0], 3)) == (0.35, 0.082)
    assert (round(found.share[2], 2), round(found.share_se[2], 3)) == (0.20, 0.064)
    assert (round(found.oa, 2), round(found.oa_se, 3)) == (0.63, 0.085)
    assert (round(found.users[1], 3), round(found.users_se[1], 3)) == (0.574, 0.125)
    # The paper prints 0.114 for the standard error, with 0.00 for the variance of x in stratum 4, where its own data
    # give 0.10 (one of ten pixels is B). The test below shows that this slip alone makes the difference.
    assert (round(found.producers[1], 3), round(found.producers_se[1], 3)) == (0.794, 0.117)
    assert round(found.matrix[2, 1], 2) == 0.08  # mapped as B, in truth C


def test_printed_standard_error_of_stehman_2014_follows_from_its_slip() -> None:
    variance = total = 0.0
    ratio = stehman().producers[1]
    for stratum, (units, pixels) in enumerate(zip(STEHMAN_STRATA, STEHMAN_PIXELS, strict=True)):
        y = np.array([unit == "BB" for unit in units.split()], float)
        x = np.array([unit[1] == "B" for unit in units.split()], float)
        total += pixels * x.mean()
        spread = y.var(ddof=1) + ratio**2 * (x.var(ddof=1) if stratum < 3 else 0) - 2 * ratio * np.cov(y, x)[0, 1]
        variance += pixels**2 * (1 - 10 / pixels) * spread / 10
    assert round(np.sqrt(variance) / total, 3) == 0.114


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_strata_that_are_map_classes_give_the_closed_forms(seed: int) -> None:
    """Equations 5 to 7 and 10 of Olofsson et al. as printed, in loops."""
    random = np.random.default_rng(seed)
    map_by_truth = random.integers(0, 9, (3, 3)) + np.eye(3, dtype=int) * 3
    pixels = random.integers(100, 10_000, 3)
    found = estimate_areas(with_map_strata(map_by_truth), pixels, "abc", finite_population=False)
    n, weight = map_by_truth.sum(1), pixels / pixels.sum()
    users = np.diag(map_by_truth) / n
    np.testing.assert_allclose(found.users_se**2, users * (1 - users) / (n - 1), atol=1e-12)
    np.testing.assert_allclose(found.oa_se**2, (weight**2 * users * (1 - users) / (n - 1)).sum(), atol=1e-12)
    for j in range(3):
        part = map_by_truth[:, j] / n
        np.testing.assert_allclose(found.share_se[j] ** 2, (weight**2 * part * (1 - part) / (n - 1)).sum(), atol=1e-12)
        total = (pixels * part).sum()
        producers = pixels[j] * part[j] / total
        others = sum(pixels[i] ** 2 * part[i] * (1 - part[i]) / (n[i] - 1) for i in range(3) if i != j)
        own = pixels[j] ** 2 * (1 - producers) ** 2 * users[j] * (1 - users[j]) / (n[j] - 1)
        np.testing.assert_allclose(found.producers_se[j] ** 2, (own + producers**2 * others) / total**2, atol=1e-12)


@pytest.mark.parametrize("strata_are_classes", [True, False], ids=["strata are map classes", "strata differ"])
def test_intervals_cover_the_truth_in_93_to_97_percent_of_2000_draws(strata_are_classes: bool) -> None:
    random = np.random.default_rng(7)
    confusion = np.array([[0.80, 0.12, 0.08], [0.10, 0.82, 0.08], [0.09, 0.11, 0.80]])
    truth = random.choice(3, 60_000, p=[0.5, 0.3, 0.2])
    mapped = np.array([random.choice(3, p=confusion[value]) for value in range(3) for _ in range(20_000)])
    mapped = mapped.reshape(3, -1)[truth, random.integers(0, 20_000, len(truth))]
    strata = mapped if strata_are_classes else (truth + random.integers(0, 3, len(truth))) % 4
    inside = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    sizes = [len(pixels) for pixels in inside]
    known = np.array([(truth == mapped).mean(), *(np.bincount(truth) / len(truth))])
    known = np.r_[known, [(truth[mapped == k] == k).mean() for k in range(3)]]
    known = np.r_[known, [(mapped[truth == k] == k).mean() for k in range(3)]]
    covered, estimates, draws = np.zeros(len(known)), np.zeros(len(known)), 2000
    for _ in range(draws):
        counts = np.zeros((len(inside), 3, 3), int)
        for stratum, pixels in enumerate(inside):
            drawn = random.choice(pixels, 150, replace=False, shuffle=False)
            np.add.at(counts[stratum], (truth[drawn], mapped[drawn]), 1)
        found = estimate_areas(counts, sizes, "abc")
        value = np.r_[found.oa, found.share, found.users, found.producers]
        error = np.r_[found.oa_se, found.share_se, found.users_se, found.producers_se]
        covered += np.abs(value - known) <= Z95 * error
        estimates += value
    assert ((covered / draws >= 0.93) & (covered / draws <= 0.97)).all(), covered / draws
    np.testing.assert_allclose(estimates / draws, known, atol=0.003)


def test_a_census_has_no_sampling_error() -> None:
    counts = with_map_strata(np.array([[30, 5], [2, 63]]))
    found = estimate_areas(counts, [35, 65], "ab")
    assert found.oa_se == 0 and not found.share_se.any() and found.share.tolist() == [0.32, 0.68]


def test_too_few_sampled_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="stratum 1 has 1 sampled pixels; 2 are needed"):
        estimate_areas(with_map_strata(np.array([[9, 1], [0, 1]])), [100, 10], "ab")
    found = estimate_areas(with_map_strata(np.array([[9, 1], [0, 0]])), [100, 0], "ab")  # no pixel, none needed
    assert found.share.tolist() == [0.9, 0.1] and np.isnan(found.users[1])


def test_areas_as_plain_numbers() -> None:
    facts = olofsson().to_dict(pixel_area=900)
    deforestation = facts["classes"][0]
    assert round(deforestation["area_hectares"]["estimate"]) == 21_158
    assert round(deforestation["area_hectares"]["mapped"]) == 18_000
    assert facts["population_pixels"] == 10_000_000
    assert "area_hectares" not in olofsson().to_dict()["classes"][0]
