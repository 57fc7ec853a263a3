"""Quicklooks: panels in their colours, legend complete, nothing over anything else."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from affine import Affine
from matplotlib.figure import Figure
from rasterio.crs import CRS

from diffclip_geo import quicklook
from diffclip_geo.classes import ClassTable
from diffclip_geo.errors import OutputError
from diffclip_geo.grid import Grid
from diffclip_geo.maps import ConfidenceWriter, LabelMapWriter, confidence_path
from diffclip_geo.quicklook import Marks, write_quicklook


def write_maps(folder: Path, height: int, width: int, classes: int) -> Path:
    names = tuple(f"class {i} with a long name, {'x' * (3 * i)}" for i in range(classes))
    table = ClassTable(names, tuple((10 * i, 255 - 10 * i, 99) for i in range(classes)))
    grid = Grid(height, width, Affine(2, 0, 500_000, 0, -2, 5_000_000), CRS.from_epsg(32633))
    labels = np.random.default_rng(0).integers(0, classes + 1, (height, width))
    with LabelMapWriter(folder / "map.tif", grid, table) as writer:
        writer.write(0, 0, labels)
    with ConfidenceWriter(confidence_path(folder / "map.tif"), grid, "p") as writer:
        writer.write(0, 0, np.where(labels, 0.5, np.nan).astype(np.float32))
    return folder / "map.tif"


@pytest.mark.parametrize(("height", "width"), [(128, 128), (349, 1905), (1905, 349), (20, 20)])
@pytest.mark.parametrize("panels", [1, 4])
def test_nothing_overlaps_and_the_legend_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int, width: int, panels: int
) -> None:
    pages: list[Figure] = []
    page = quicklook._page
    monkeypatch.setattr(quicklook, "_page", lambda *given: pages.append(page(*given)) or pages[-1])
    map_path = write_maps(tmp_path, height, width, 20)
    marks = Marks(np.array([0, height - 1]), np.array([0, width - 1]), np.array([1, 20]))
    more = {
        "marks": marks,
        "rgb": np.zeros((height, width, 3), np.uint8),
        "truth": map_path,
        "confidence": confidence_path(map_path),
    }
    write_quicklook(map_path, tmp_path / "map.png", title="A scene", **(more if panels == 4 else {}))
    (figure,) = pages
    (legend,) = figure.legends
    # The classes, "no data", and the labels used.
    assert len(legend.get_texts()) == (22 if panels == 4 else 21)
    first = figure.axes[0]
    assert {text.get_text() for text in first.texts} >= {"N"}  # north arrow
    (bar,) = [text.get_text().split() for text in first.texts if text.get_text().endswith("m")]
    length = float(bar[0]) * {"m": 1, "km": 1000}[bar[1]]
    (line,) = first.lines
    drawn = np.ptp(line.get_xdata()) / np.ptp(first.get_xlim()) * width * 2  # metres
    assert drawn == pytest.approx(length) and 0.1 < drawn / (2 * width) <= 0.3
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [legend.get_window_extent()]
    boxes += [text.get_window_extent() for text in figure.texts]
    assert len(boxes) == (7 if panels == 4 else 3)
    for index, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        for other in boxes[index + 1 :]:
            assert not (box.x0 < other.x1 and other.x0 < box.x1 and box.y0 < other.y1 and other.y0 < box.y1)
    for axes in figure.axes[:panels]:
        if axes.images and axes.get_title():
            extent = axes.get_window_extent()
            assert extent.height / extent.width == pytest.approx(height / width, rel=0.01)


def test_colours_of_the_picture(tmp_path: Path) -> None:
    map_path = write_maps(tmp_path, 30, 40, 3)
    write_quicklook(map_path, tmp_path / "map.png", confidence=confidence_path(map_path))
    image = matplotlib.image.imread(tmp_path / "map.png")
    colors = {tuple(pixel) for pixel in np.unique((image[:, :, :3] * 255).round().astype(int).reshape(-1, 3), axis=0)}
    assert {(0, 255, 99), (10, 245, 99), (20, 235, 99), (232, 232, 232), (0x21, 0x91, 0x8C)} <= colors


def test_existing_picture_is_kept(tmp_path: Path) -> None:
    map_path = write_maps(tmp_path, 10, 10, 2)
    (tmp_path / "map.png").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        write_quicklook(map_path, tmp_path / "map.png")
    assert (tmp_path / "map.png").read_text() == "mine"


def test_north_is_where_the_grid_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[Figure] = []
    page = quicklook._page
    monkeypatch.setattr(quicklook, "_page", lambda *given: pages.append(page(*given)) or pages[-1])
    grids = {
        "up": Affine(2, 0, 500_000, 0, -2, 5_000_000),
        "right": Affine(0, 2, 500_000, 2, 0, 5_000_000),  # columns run north
    }
    for name, transform in grids.items():
        grid = Grid(50, 60, transform, CRS.from_epsg(32633))
        with LabelMapWriter(tmp_path / f"{name}.tif", grid, ClassTable(("a",), ((9, 9, 9),))) as writer:
            writer.write(0, 0, np.ones((50, 60), np.uint8))
        write_quicklook(tmp_path / f"{name}.tif", tmp_path / f"{name}.png")
        (arrow,) = [text for text in pages[-1].axes[0].texts if not text.get_text()]
        tip, foot = np.array(arrow.xy), np.array(arrow.xyann)
        assert np.sign(np.round(tip - foot, 6)).tolist() == ([0, -1] if name == "up" else [1, 0])


def test_no_furniture_without_a_coordinate_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[Figure] = []
    page = quicklook._page
    monkeypatch.setattr(quicklook, "_page", lambda *given: pages.append(page(*given)) or pages[-1])
    with LabelMapWriter(
        tmp_path / "map.tif", Grid(9, 9, Affine.identity(), None), ClassTable(("a",), ((9, 9, 9),))
    ) as writer:
        writer.write(0, 0, np.ones((9, 9), np.uint8))
    write_quicklook(tmp_path / "map.tif", tmp_path / "map.png")
    assert not pages[0].axes[0].texts and not pages[0].axes[0].lines
