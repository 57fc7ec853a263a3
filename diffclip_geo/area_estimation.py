"""Accuracy and area of classes from a probability sample of pixels, with standard errors and 95 % intervals.

The estimators are those of Stehman (2014, "Estimating area and map accuracy for stratified random sampling when the
strata are different from the map classes", International Journal of Remote Sensing 35:4923-4939). Where the strata are
the map classes they are those of Olofsson et al. (2014, "Good practices for estimating area and assessing accuracy of
land change", Remote Sensing of Environment 148:42-57), so one implementation serves both. They are right for samples
whose pixels were drawn at random with known probability, and for no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054  # normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class AreaEstimates:
    """Estimates of a stratified random sample for K classes; shares are of the `pixels` of the population.

    `matrix` [K, K] holds estimated shares with the truth in rows and the map in columns. A figure without a defined
    value (a class that no sampled pixel has) is NaN.
    """

    names: tuple[str, ...]
    pixels: int
    matrix: NDArray[np.float64]
    oa: float
    oa_se: float
    users: NDArray[np.float64]  # [K], and so on
    users_se: NDArray[np.float64]
    producers: NDArray[np.float64]
    producers_se: NDArray[np.float64]
    share: NDArray[np.float64]  # of each class of the truth
    share_se: NDArray[np.float64]
    mapped_share: NDArray[np.float64]  # of each class on the map: counted where the strata are the map classes

    def to_dict(self, pixel_area: float | None = None) -> dict[str, Any]:
        """Plain numbers, `half_width` being that of the 95 % interval; `pixel_area` in m² adds hectares."""
        rows = []
        for index, name in enumerate(self.names):
            pixels = {
                "estimate": self.share[index] * self.pixels,
                "half_width": Z95 * self.share_se[index] * self.pixels,
                "mapped": self.mapped_share[index] * self.pixels,
            }
            row: dict[str, Any] = {
                "name": name,
                "area_share": _with_error(self.share[index], self.share_se[index]),
                "area_pixels": pixels,
                "users_accuracy": _with_error(self.users[index], self.users_se[index]),
                "producers_accuracy": _with_error(self.producers[index], self.producers_se[index]),
            }
            if pixel_area is not None:
                row["area_hectares"] = {key: value * pixel_area / 10_000 for key, value in pixels.items()}
            rows.append(row)
        return {
            "population_pixels": self.pixels,
            "overall_accuracy": _with_error(self.oa, self.oa_se),
            "classes": rows,
            "share_matrix": {"orientation": "rows = truth, columns = map", "shares": self.matrix.tolist()},
        }


def estimate_areas(
    counts: NDArray[np.integer],
    stratum_pixels: Sequence[int] | NDArray[np.integer],
    names: Sequence[str],
    *,
    stratum_names: Sequence[str] | None = None,
    finite_population: bool = True,
    strata_are_map_classes: bool = False,
) -> AreaEstimates:
    """Estimates from sample counts [H, K, K]: pixels of each stratum by class of the truth and class of the map.

    `stratum_pixels` [H] are the pixels of each stratum in the whole population. With `finite_population`, variances
    carry the factor 1 − n/N of Stehman's equation 25, which Olofsson et al. leave out.

    Raises ValueError when a stratum that has pixels has fewer than two in the sample: its variance cannot be estimated.
    """
    population = np.asarray(stratum_pixels, float)
    used = population > 0
    population, counts = population[used], np.asarray(counts, float)[used]
    sampled = counts.sum(axis=(1, 2))
    if not len(sampled) or (sampled < 2).any():
        if not len(sampled):
            raise ValueError("the population has no pixel")
        poorest = int(sampled.argmin())
        stratum = int(np.flatnonzero(used)[poorest])
        name = f"stratum {stratum}" if stratum_names is None else stratum_names[stratum]
        raise ValueError(f"{name} has {int(sampled[poorest])} sampled pixels; 2 are needed")
    total = population.sum()
    mean = counts / sampled[:, None, None]  # [H, K, K]: mean of the indicator "truth i and map j" within each stratum
    weight = population**2 / sampled
    if finite_population:
        weight = weight * (1 - np.minimum(sampled / population, 1))
    matrix = np.tensordot(population, mean, 1) / total

    right = np.trace(mean, axis1=1, axis2=2)
    hits = np.diagonal(mean, axis1=1, axis2=2)  # [H, K]
    truth, mapped = mean.sum(axis=2), mean.sum(axis=1)
    users, users_se = _ratio(population, weight, sampled, hits, mapped)
    producers, producers_se = _ratio(population, weight, sampled, hits, truth)
    mapped_share = population @ mapped / total
    if strata_are_map_classes:
        mapped_share = np.zeros(len(names))
        mapped_share[np.flatnonzero(used)] = population / total
    return AreaEstimates(
        tuple(names),
        int(total),
        matrix,
        float(population @ right / total),
        float(np.sqrt(weight @ _variance(right, sampled)) / total),
        users,
        users_se,
        producers,
        producers_se,
        population @ truth / total,
        np.sqrt(weight @ _variance(truth, sampled[:, None])) / total,
        mapped_share,
    )


def _variance(mean: NDArray[np.float64], sampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample variance of an indicator with this mean (equation 26)."""
    return np.maximum(mean * (1 - mean), 0) * sampled / (sampled - 1)


def _ratio(
    population: NDArray[np.float64],
    weight: NDArray[np.float64],
    sampled: NDArray[np.float64],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ratio of two totals and its standard error (equations 27 to 29), [K] each, from stratum means [H, K].

    y and x are means of indicators of which the first implies the second, so the mean of their product is y.
    """
    whole = population @ x
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = population @ y / whole
        n = sampled[:, None]
        covariance = (y - y * x) * n / (n - 1)
        spread = _variance(y, n) + ratio**2 * _variance(x, n) - 2 * ratio * covariance
        error = np.sqrt(np.maximum(weight @ spread, 0)) / whole
    return np.where(whole > 0, ratio, np.nan), np.where(whole > 0, error, np.nan)


def _with_error(value: float, error: float) -> dict[str, float]:
    return {"estimate": float(value), "standard_error": float(error), "half_width": float(Z95 * error)}
