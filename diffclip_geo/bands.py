"""What is known of a raster's bands: wavelengths, widths, and which of them are fit for use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from .errors import OptionError, RasterError
from .rasters import Raster, name_of, source_of

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_WITH_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*\(?(nanomet\w*|nm|micromet\w*|microns?|um|µm|μm)\b", re.IGNORECASE)
_TO_NANOMETRES = {"n": 1.0, "m": 1000.0, "u": 1000.0, "µ": 1000.0, "μ": 1000.0}  # by the first letter of the unit
_LONGEST_MICROMETRES = 50.0  # a list without units whose largest value is below this is in µm


@dataclass(frozen=True)
class Bands:
    """The bands of one raster, in file order.

    `wavelengths` and `fwhm` are in nm, one per band, or None when the file does not tell. `good` is False for bands
    that are dropped and `reasons` says why: "bbl" (the header's bad band list), "listed" (by the user), "nodata",
    "constant", or "other scenes" (dropped there); it is empty for bands that are kept.
    """

    names: tuple[str, ...]
    wavelengths: tuple[float, ...] | None
    fwhm: tuple[float, ...] | None
    good: tuple[bool, ...]
    reasons: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def kept(self) -> NDArray[np.int64]:
        """Indices of the bands in use, from 0."""
        return np.flatnonzero(self.good).astype(np.int64)

    @property
    def kept_wavelengths(self) -> NDArray[np.float64] | None:
        """Wavelengths in nm of the bands in use, or None."""
        return None if self.wavelengths is None else np.asarray(self.wavelengths, float)[self.kept]

    def drop(self, indices: Sequence[int] | NDArray[np.integer], reason: str) -> Bands:
        """The same bands with some more dropped; a band dropped before keeps its first reason."""
        dropped = {int(index) for index in indices}
        good = tuple(ok and index not in dropped for index, ok in enumerate(self.good))
        reasons = tuple(
            reason if ok and index in dropped else before
            for index, (ok, before) in enumerate(zip(self.good, self.reasons, strict=True))
        )
        return replace(self, good=good, reasons=reasons)

    def dropped(self) -> dict[str, str]:
        """Reason → dropped bands as 1-based ranges: {"bbl": "1-4,105-120"}."""
        found: dict[str, list[int]] = {}
        for index, (ok, reason) in enumerate(zip(self.good, self.reasons, strict=True)):
            if not ok:
                found.setdefault(reason, []).append(index + 1)
        return {reason: _as_ranges(numbers) for reason, numbers in found.items()}

    def to_text(self) -> str:
        """One line: how many bands are kept, over which wavelengths, and which are dropped and why."""
        text = f"{self.kept.size} of {len(self)} bands"
        if self.kept_wavelengths is not None:
            text += f", {self.kept_wavelengths.min():.0f}–{self.kept_wavelengths.max():.0f} nm"
        dropped = "; ".join(f"{listed} ({reason})" for reason, listed in self.dropped().items())
        return f"{text}; dropped {dropped}" if dropped else text

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "names": list(self.names),
            "wavelengths": None if self.wavelengths is None else list(self.wavelengths),
            "fwhm": None if self.fwhm is None else list(self.fwhm),
            "good": list(self.good),
            "reasons": list(self.reasons),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Bands:
        """Inverse of `to_dict`."""
        return cls(
            tuple(values["names"]),
            None if values["wavelengths"] is None else tuple(values["wavelengths"]),
            None if values["fwhm"] is None else tuple(values["fwhm"]),
            tuple(values["good"]),
            tuple(values["reasons"]),
        )


def read_bands(dataset: Raster, bad_bands: str = "") -> Bands:
    """Read names, wavelengths and the bad band list from ENVI header fields, GDAL band metadata or band descriptions.

    `bad_bands` lists more bands to drop, counted from 1: "1-4,105-120". No pixel is read.

    Raises
    ------
    RasterError
        The file lists wavelengths or bad bands for another number of bands than it has, or every band is dropped.
    OptionError
        `bad_bands` cannot be parsed or names a band that is not there.
    """
    dataset = source_of(dataset)
    count = dataset.count
    header = {**dataset.tags(), **dataset.tags(ns="ENVI")}
    units = header.get("wavelength_units", "")
    wavelengths = _header_list(dataset, header, ("wavelength", "wavelengths"), units)
    fwhm = _header_list(dataset, header, ("fwhm",), units)
    if wavelengths is None:
        wavelengths, fwhm_of_bands = _band_metadata(dataset)
        fwhm = fwhm if fwhm is not None else fwhm_of_bands
    bands = Bands(_names(dataset), wavelengths, fwhm, (True,) * count, ("",) * count)
    bands = bands.drop(_bad_band_list(dataset, header), "bbl").drop(parse_ranges(bad_bands, count), "listed")
    if not bands.kept.size:
        raise RasterError(name_of(dataset), "every band is marked bad", "correct the bbl of the header or --bad-bands")
    return bands


def parse_ranges(text: str, count: int) -> list[int]:
    """Indices from 0 of a list of 1-based bands and ranges: "1-4,7" → [0, 1, 2, 3, 6].

    Raises
    ------
    OptionError
        The text is not such a list, or a number lies outside 1…`count`.
    """
    indices: list[int] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = re.fullmatch(r"(\d+)(?:\s*-\s*(\d+))?", part)
        if not match:
            raise OptionError("--bad-bands", f"cannot read {part!r}", "list bands and ranges from 1, e.g. 1-4,105-120")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= count:
            raise OptionError(
                "--bad-bands", f"{part} is not within 1-{count}, the bands of the image", "correct the list"
            )
        indices.extend(range(first - 1, last))
    return indices


def match_bands(wanted: Bands, have: Bands, path: str | PathLike[str]) -> NDArray[np.int64]:
    """For each kept band of `wanted`, the index of the same band in `have`, the bands of the raster at `path`.

    Bands are the same when their wavelengths differ by a quarter of the band spacing at most (or 2 nm); without
    wavelengths on either side, when both rasters have as many bands in all.

    Raises
    ------
    RasterError
        A band is missing (the message says which), or the band counts differ.
    """
    if wanted.wavelengths is None or have.wavelengths is None:
        if len(wanted) != len(have):
            fault = (
                f"has {len(have)} bands, not {len(wanted)} like the trained scene, and no wavelengths to match them by"
            )
            raise RasterError(path, fault, "give an image of the same sensor, or one with wavelengths")
        return wanted.kept
    ours, theirs = np.asarray(wanted.wavelengths, float), np.asarray(have.wavelengths, float)
    if len(wanted) == len(have) and np.allclose(ours, theirs, atol=0.5):
        return wanted.kept  # the same sensor: by position, which is safe where two detectors overlap in wavelength
    spacing = np.median(np.abs(np.diff(np.sort(ours)))) if len(ours) > 1 else 0.0
    distance = np.abs(ours[wanted.kept, None] - theirs[None, :])
    nearest = distance.argmin(axis=1)
    missing = ours[wanted.kept][distance.min(axis=1) > max(2.0, spacing / 4)]
    if missing.size:
        listed = ", ".join(f"{value:.0f}" for value in missing[:5]) + (", …" if missing.size > 5 else "")
        fault = f"has no band at {listed} nm ({missing.size} of the {wanted.kept.size} bands in use are missing)"
        raise RasterError(path, fault, "give an image of the same sensor, or resample it to these wavelengths")
    return nearest.astype(np.int64)


def _names(dataset: DatasetReader) -> tuple[str, ...]:
    return tuple(text or f"band {index}" for index, text in enumerate(dataset.descriptions, start=1))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in _NUMBER.findall(text))


def _header_list(
    dataset: DatasetReader, header: Mapping[str, str], keys: Sequence[str], units: str
) -> tuple[float, ...] | None:
    """A list in nm of the header, one value per band."""
    for key in keys:
        values = _numbers(header.get(key, ""))
        if not values:
            continue
        if len(values) != dataset.count:
            fault = f"its header lists {len(values)} values of {key} for {dataset.count} bands"
            raise RasterError(name_of(dataset), fault, "correct the header")
        if key == "fwhm":
            return _in_nanometres(values, units, _numbers(header.get("wavelength", "")) or values)
        return _in_nanometres(values, units, values)
    return None


def _in_nanometres(values: tuple[float, ...], units: str, like: tuple[float, ...]) -> tuple[float, ...] | None:
    """Values in nm. Without units, those of `like` (the wavelengths) tell nm from µm by their size."""
    unit = units.strip().lower()
    if unit.startswith("index") or unit.startswith("wavenumber"):
        return None
    if unit and unit[0] in _TO_NANOMETRES and not unit.startswith("unknown"):
        factor = _TO_NANOMETRES[unit[0]]
    else:
        factor = 1000.0 if max(like) < _LONGEST_MICROMETRES else 1.0
    return tuple(round(value * factor, 6) for value in values)


def _band_metadata(dataset: DatasetReader) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Wavelengths and fwhm in nm from each band's IMAGERY domain, its own tags, or its description."""
    found = [_one_band(dataset, index) for index in range(1, dataset.count + 1)]
    wavelengths = tuple(wavelength for wavelength, _ in found if wavelength is not None)
    fwhm = tuple(width for _, width in found if width is not None)
    complete = len(wavelengths) == dataset.count
    return (wavelengths if complete else None), (fwhm if complete and len(fwhm) == dataset.count else None)


def _one_band(dataset: DatasetReader, index: int) -> tuple[float | None, float | None]:
    tags = {key.lower(): value for key, value in dataset.tags(index).items()}
    wavelength, width = _numbers(tags.get("wavelength", "")), _numbers(tags.get("fwhm", ""))
    units = tags.get("wavelength_units", tags.get("wavelength_unit", ""))
    if wavelength:  # finer than the three decimals that GDAL writes to the IMAGERY domain
        values = _in_nanometres(wavelength[:1], units, wavelength)
        widths = _in_nanometres(width[:1], units, wavelength) if width else None
        return (values[0] if values else None), (widths[0] if widths else None)
    of_netcdf = next((value for key, value in tags.items() if re.match(r"netcdf_dim_.*wavelength", key)), "")
    if _numbers(of_netcdf):  # the coordinate of the band along a dimension of wavelengths
        values = _in_nanometres(_numbers(of_netcdf)[:1], "", _numbers(of_netcdf))
        return (values[0] if values else None), None
    imagery = dataset.tags(index, ns="IMAGERY")
    if "CENTRAL_WAVELENGTH_UM" in imagery:
        widths = _numbers(imagery.get("FWHM_UM", ""))
        return round(float(imagery["CENTRAL_WAVELENGTH_UM"]) * 1000, 6), (
            round(widths[0] * 1000, 6) if widths else None
        )
    match = _WITH_UNIT.search(dataset.descriptions[index - 1] or "")
    if match:
        return round(float(match[1]) * _TO_NANOMETRES[match[2][0].lower()], 6), None
    return None, None


def _bad_band_list(dataset: DatasetReader, header: Mapping[str, str]) -> list[int]:
    flags = _numbers(header.get("bbl", ""))
    if not flags:
        per_band = [_numbers(dataset.tags(index).get("bbl", "1")) for index in range(1, dataset.count + 1)]
        flags = tuple(values[0] if values else 1.0 for values in per_band)
    if len(flags) != dataset.count:
        fault = f"its header lists {len(flags)} values of bbl for {dataset.count} bands"
        raise RasterError(name_of(dataset), fault, "correct the header")
    return [index for index, flag in enumerate(flags) if flag == 0]


def _as_ranges(numbers: Sequence[int]) -> str:
    """[1, 2, 3, 7] → "1-3,7"."""
    pieces: list[list[int]] = []
    for number in numbers:
        if pieces and number == pieces[-1][-1] + 1:
            pieces[-1][1:] = [number]
        else:
            pieces.append([number])
    return ",".join("-".join(map(str, piece)) for piece in pieces)
