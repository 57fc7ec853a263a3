"""A picture of a map for people without a GIS at hand: image, map, confidence and truth side by side, with a legend,
scale bar, north arrow and the labels that the map was learned from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from .atomic import FileSet
from .grid import Grid
from .ground import pixel_width
from .legends import read_raster_legend
from .qml import CONFIDENCE_RAMP
from .rasters import gdal, open_raster

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

    from .scenes import Scene

_LONGEST = 1200  # pixels on the longer side that are read
_TRUE_COLOUR = (640.0, 550.0, 470.0)  # nm: red, green, blue
_NO_DATA = (232, 232, 232)
_NO_COLOUR = (128, 128, 128)

# Inches of the page.
_WIDTH, _HEIGHT = 12.0, 9.0  # the most the panels may take
_MARGIN, _GAP, _TITLE, _BAR, _NARROWEST = 0.25, 0.25, 0.3, 0.45, 1.5
_LONGEST_NAME = 32


@dataclass(frozen=True)
class Marks:
    """Labelled pixels to show: row, column and class value in terms of the map, [N] each."""

    row: NDArray[np.integer]
    column: NDArray[np.integer]
    value: NDArray[np.integer]


def quicklook_path(map_path: Path) -> Path:
    """``map.png`` for ``map.tif``."""
    return map_path.with_suffix(".png")


def rgb_composite(scene: Scene) -> NDArray[np.uint8]:
    """The scene in true colour, [h, w, 3], thinned to 1200 pixels on its longer side; nodata is light grey.

    Without wavelengths, or without bands in the visible range, the bands at 60, 40 and 20 % of the kept ones stand for
    red, green and blue. Each is stretched from its 2nd to its 98th percentile.
    """
    shape = _thinned(*scene.grid.shape)
    values = scene.preview(_colour_bands(scene), *shape)
    values[:, ~np.isfinite(values).all(axis=0)] = np.nan
    if np.isnan(values).all():
        return np.full((*shape, 3), _NO_DATA, np.uint8)
    low, high = np.nanpercentile(values, (2, 98), axis=(1, 2))[:, :, None, None]
    stretched = np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1) * 255
    grey = np.array(_NO_DATA, np.float32)[:, None, None]
    return np.where(np.isnan(stretched), grey, stretched).astype(np.uint8).transpose(1, 2, 0)


def get_ready_to_draw() -> None:
    """Import what draws, which takes half a second, while something else is waited for."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import matplotlib.patheffects  # noqa: F401


def write_quicklook(
    map_path: Path,
    png_path: Path,
    *,
    rgb: NDArray[np.uint8] | None = None,
    confidence: Path | None = None,
    truth: Path | None = None,
    marks: Marks | None = None,
    title: str = "",
    overwrite: bool = False,
) -> None:
    """Draw a label map and its legend to a PNG, beside it the image `rgb` ([h, w, 3], of the same extent), a truth
    raster and the confidence map as far as they are given. `marks` are drawn on the first of them, and so are a scale
    bar and a north arrow where the map has a coordinate system. Rasters are read thinned: memory does not depend on
    their size.

    Raises
    ------
    RasterError
        A raster cannot be read.
    OutputError
        `png_path` exists or cannot be written.
    """
    labels = _read_labels(map_path)
    panels = [_Panel("Image", rgb)] if rgb is not None else []
    panels.append(_Panel("Map", labels.picture()))
    legends = [labels]
    if truth is not None:
        reference = _read_labels(truth).in_terms_of(labels)
        panels.append(_Panel("Truth", reference.picture()))
        legends.append(reference)
    if confidence is not None:
        with open_raster(confidence) as dataset, gdal():
            shape = _thinned(dataset.height, dataset.width)
            panels.append(_Panel("Confidence", dataset.read(1, out_shape=shape, resampling=Resampling.average)))
    panels[0] = replace(panels[0], furniture=_Furniture(labels, marks))
    figure = _page(panels, labels.height / labels.width, legends, title)
    with FileSet(png_path, overwrite=overwrite) as files:
        fast = {"compress_level": 3}  # in half the time of the usual 6, and 3 % larger
        figure.savefig(files.stage(png_path), dpi=150, facecolor="white", pil_kwargs=fast)


@dataclass(frozen=True)
class _Furniture:
    """What is drawn over the first panel."""

    labels: _Labels
    marks: Marks | None


@dataclass(frozen=True)
class _Panel:
    title: str
    pixels: NDArray  # [h, w, 3] colours, or [h, w] confidence
    furniture: _Furniture | None = None


@dataclass(frozen=True)
class _Labels:
    """A label raster, thinned: values [h, w], and name and colour of each value but 0."""

    values: NDArray[np.int64]
    height: int  # of the whole raster
    width: int
    names: dict[int, str]
    colors: dict[int, tuple[int, int, int]]
    grid: Grid

    def picture(self) -> NDArray[np.uint8]:
        table = np.full((max(0, self.values.max(), *self.colors) + 1, 3), _NO_COLOUR[0], np.uint8)
        for value, color in self.colors.items():
            table[value] = color
        table[0] = _NO_DATA
        return table[self.values]

    def in_terms_of(self, other: _Labels) -> _Labels:
        """The same raster with the spelling and the colours that `other` has for the classes both know."""
        value_of = {name.casefold(): value for value, name in other.names.items()}
        names, colors = dict(self.names), dict(self.colors)
        for value, name in self.names.items():
            if (there := value_of.get(name.casefold())) is not None:
                names[value], colors[value] = other.names[there], other.colors[there]
        return replace(self, names=names, colors=colors)


def _read_labels(path: Path) -> _Labels:
    with open_raster(path) as dataset, gdal():
        values = dataset.read(1, out_shape=_thinned(dataset.height, dataset.width)).astype(np.int64)
        if dataset.nodata is not None:
            values[values == dataset.nodata] = 0
        values[values < 0] = 0
        legend = read_raster_legend(dataset)
        grid = Grid.of(dataset)
    known = {int(value): name for value, name in legend.names.items() if name}
    seen = set(np.unique(values).tolist()) | set(known)
    names = {value: known.get(value, str(value)) for value in sorted(seen - {0})}
    colors = {value: legend.colors.get(str(value), _NO_COLOUR) for value in names}
    return _Labels(values, grid.height, grid.width, names, colors, grid)


def _page(panels: list[_Panel], aspect: float, labels: list[_Labels], title: str) -> Figure:
    """Lay out the panels in rows and columns; the legend goes below a wide block of panels, right of a tall one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # The confidence, if there, is the last panel, so its colour bar is under the last row.
    foot = _BAR if panels[-1].pixels.ndim == 2 else _GAP
    columns = max(range(1, len(panels) + 1), key=lambda count: _merit(count, len(panels), aspect, foot))
    rows = -(-len(panels) // columns)
    width = _panel_width(columns, rows, aspect, foot)
    height = width * aspect
    cell_width, cell_height = max(width, _NARROWEST) + _GAP, height + _TITLE + _GAP / 2
    head = 0.3 if title else 0.0
    block_width, block_height = columns * cell_width - _GAP, rows * cell_height - _GAP / 2 + foot

    marks = panels[0].furniture.marks if panels[0].furniture is not None else None
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    FigureCanvasAgg(figure)
    if block_height > block_width:
        legend, legend_width, legend_height = _legend(figure, labels, marks, False, max(block_height, 3.0))
        page_width = block_width + _GAP + legend_width + 2 * _MARGIN
        page_height = max(block_height, legend_height) + head + 2 * _MARGIN
        corner = (_MARGIN + block_width + _GAP, page_height - head - _MARGIN - _TITLE)
    else:
        legend, legend_width, legend_height = _legend(figure, labels, marks, True, max(block_width, 6.0))
        page_width = max(block_width, legend_width) + 2 * _MARGIN
        page_height = block_height + legend_height + head + 2 * _MARGIN
        corner = ((page_width - legend_width) / 2, _MARGIN + legend_height)
    if title:
        page_width = max(page_width, 0.11 * len(title) + 2 * _MARGIN)
        figure.text(_MARGIN / page_width, 1 - _MARGIN / page_height, title, fontsize=11, weight="bold", va="top")
    figure.set_size_inches(page_width, page_height)
    legend.set_bbox_to_anchor((corner[0] / page_width, corner[1] / page_height), figure.transFigure)

    indent = 0.0 if block_height > block_width else (page_width - 2 * _MARGIN - block_width) / 2
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        left = _MARGIN + indent + column * cell_width + (cell_width - _GAP - width) / 2
        bottom = page_height - _MARGIN - head - row * cell_height - _TITLE - height
        box = (left / page_width, bottom / page_height, width / page_width, height / page_height)
        _draw(figure.add_axes(box), panel, page_height, width)
    return figure


def _panel_width(columns: int, rows: int, aspect: float, foot: float) -> float:
    """Width of a panel, in inches, when they fill the largest page in this many columns and rows."""
    by_width = (_WIDTH - (columns - 1) * _GAP) / columns
    by_height = ((_HEIGHT - foot) / rows - _TITLE - _GAP / 2) / aspect
    return min(by_width, by_height)


def _merit(columns: int, count: int, aspect: float, foot: float) -> float:
    """How good a layout is: large panels, few empty places."""
    rows = -(-count // columns)
    return _panel_width(columns, rows, aspect, foot) * (count / (rows * columns)) ** 0.5


def _draw(axes: Axes, panel: _Panel, page_height: float, width: float) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    axes.set_title(panel.title, fontsize=10, pad=4)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, color="0.4")
    if panel.pixels.ndim == 3:
        axes.imshow(panel.pixels, aspect="auto", interpolation="nearest")
        if panel.furniture is not None:
            _mark(axes, panel.pixels.shape[:2], panel.furniture)
            _furnish(axes, panel.pixels.shape[:2], panel.furniture.labels.grid)
        return
    ramp = LinearSegmentedColormap.from_list("confidence", CONFIDENCE_RAMP)
    axes.set_facecolor(_fraction(_NO_DATA))  # shows through where the confidence is NaN
    image = axes.imshow(panel.pixels, ramp, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    box = axes.get_position()
    figure = axes.get_figure()
    assert figure is not None
    bar_width = min(width, 3.0) / width * box.width
    bar = figure.add_axes(
        (box.x0 + (box.width - bar_width) / 2, box.y0 - 0.2 / page_height, bar_width, 0.12 / page_height)
    )
    figure.colorbar(image, cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=8, length=2, pad=1)
    first, _, last = bar.get_xticklabels()
    first.set_horizontalalignment("left")  # the end labels stay within the panel, however narrow
    last.set_horizontalalignment("right")


def _furnish(axes: Axes, shape: tuple[int, ...], grid: Grid) -> None:
    """Scale bar and north arrow in the lower corners, where the grid says how long and which way."""
    from matplotlib.patheffects import withStroke

    metres = pixel_width(grid)
    if metres is None:
        return
    height, width = shape
    side = min(height, width)
    halo = [withStroke(linewidth=2.5, foreground="white")]
    text: dict[str, Any] = {"ha": "center", "fontsize": 7, "color": "black", "path_effects": halo, "zorder": 5}
    across = metres * grid.width
    length = _round_length(0.3 * across)
    left, bottom = 0.04 * side, height - 0.05 * side
    right, tick = left + length / across * width, bottom - 0.015 * side
    bar: dict[str, Any] = {
        "color": "black",
        "linewidth": 1.6,
        "path_effects": [withStroke(linewidth=3.4, foreground="white")],
    }
    axes.plot([left, left, right, right], [tick, bottom, bottom, tick], zorder=5, **bar)
    name = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.text((left + right) / 2, tick - 0.005 * side, name, va="bottom", **text)
    x, y = grid.to_map(np.array([grid.width / 2]), np.array([grid.height / 2]))
    column, row = grid.to_pixels(x, y + math.sqrt(grid.pixel_area))
    north = np.array([column[0] - grid.width / 2, row[0] - grid.height / 2])
    north *= 0.09 * side / max(float(np.hypot(*north)), 1e-9)
    foot = np.array([width - 0.1 * side, height - 0.1 * side]) - north / 2
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.4, "path_effects": halo}
    axes.annotate("", _point(foot + north), _point(foot), arrowprops=arrow, zorder=5)
    axes.text(*_point(foot + 1.35 * north), "N", va="center", **text)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _mark(axes: Axes, shape: tuple[int, ...], furniture: _Furniture) -> None:
    """Labelled pixels as dots in the colours of their classes, edged so that they show on any ground."""
    marks, labels = furniture.marks, furniture.labels
    if marks is None:
        return
    x = (marks.column + 0.5) * shape[1] / labels.width - 0.5
    y = (marks.row + 0.5) * shape[0] / labels.height - 0.5
    colors = [_fraction(labels.colors.get(int(value), _NO_COLOUR)) for value in marks.value]
    axes.scatter(x, y, s=13, c=colors, edgecolors="white", linewidths=0.8, zorder=4)
    axes.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5))


def _point(place: NDArray[np.float64]) -> tuple[float, float]:
    return float(place[0]), float(place[1])


def _round_length(longest: float) -> float:
    """The longest of 1, 2, 5, 10, 20 … that is not longer."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest * 1.0001)


def _legend(
    figure: Figure, labels: list[_Labels], marks: Marks | None, columns_first: bool, limit: float
) -> tuple[Legend, float, float]:
    """The legend with its width and height in inches: as wide as `limit` allows, or as tall."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shares = _shares(labels[0])
    entries = {name: (color, shares.get(name)) for one in labels for name, color in _named_colors(one).items()}
    handles: list[Patch | Line2D] = [
        Patch(facecolor=_fraction(color), edgecolor="0.4", linewidth=0.5, label=_entry(name, share))
        for name, (color, share) in entries.items()
    ]
    if any((one.values == 0).any() for one in labels):
        handles.append(Patch(facecolor=_fraction(_NO_DATA), edgecolor="0.4", linewidth=0.5, label="no data"))
    if marks is not None:
        dot: dict[str, Any] = {
            "marker": "o",
            "color": "none",
            "markerfacecolor": "0.5",
            "markeredgecolor": "black",
            "markersize": 4.5,
        }
        handles.append(Line2D([], [], label=f"labels used: {len(marks.row):,}", **dot))
    choices = range(len(handles), 0, -1) if columns_first else range(1, len(handles) + 1)
    for columns in choices:
        for old in figure.legends[:]:
            old.remove()
        legend = figure.legend(
            handles=handles,
            title="Classes and their share of the map",
            ncols=columns,
            loc="upper left",
            alignment="left",
            fontsize=9,
            title_fontsize=9,
            frameon=False,
            borderaxespad=0,
            borderpad=0,
        )
        extent = legend.get_window_extent()
        width, height = extent.width / figure.dpi, extent.height / figure.dpi
        if (width if columns_first else height) <= limit:
            break
    return legend, width, height


def _named_colors(labels: _Labels) -> dict[str, tuple[int, int, int]]:
    return {name: labels.colors[value] for value, name in labels.names.items()}


def _shares(labels: _Labels) -> dict[str, float]:
    """Share of each class in the pixels that hold one."""
    counts = np.bincount(labels.values.ravel(), minlength=max(labels.names, default=0) + 1)
    total = max(1, int(counts[1:].sum()))
    return {name: counts[value] / total for value, name in labels.names.items()}


def _entry(name: str, share: float | None) -> str:
    short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    return short if share is None else f"{short}  {100 * share:.1f} %"


def _fraction(color: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = color
    return red / 255, green / 255, blue / 255


def _thinned(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, _LONGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _colour_bands(scene: Scene) -> list[int]:
    """Indices, in the file, of the bands shown as red, green and blue."""
    kept = scene.bands.kept
    if scene.bands.wavelengths is not None:
        wavelengths = np.asarray(scene.bands.wavelengths)[kept]
        nearest = [int(np.abs(wavelengths - wanted).argmin()) for wanted in _TRUE_COLOUR]
        if all(abs(wavelengths[index] - wanted) <= 40 for index, wanted in zip(nearest, _TRUE_COLOUR, strict=True)):
            return [int(kept[index]) for index in nearest]
    return [int(kept[int(part * (len(kept) - 1))]) for part in (0.6, 0.4, 0.2)]
