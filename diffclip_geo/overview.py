"""A picture of scenes with their labels on top, to see at a glance whether they belong together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .atomic import FileSet
from .labels import LabelledPixels
from .quicklook import rgb_composite
from .scenes import Scene

_LARGEST = 10.0  # inches on the longer side of a single panel
_PAGE = 14.0  # inches across, of many panels
_SMALLEST = 3.0  # points (1/72 inch) that a labelled pixel is wide at least
_MARGIN = 0.15  # inches around the panels
_LONGEST_NAME = 32


def write_overview(
    path: Path, scenes: Sequence[Scene], labels: LabelledPixels | None, *, overwrite: bool = False
) -> None:
    """Draw the scenes in true colour, each labelled pixel in the colour of its class, and a legend, to a PNG.

    Several scenes stand side by side. In large scenes a labelled pixel is drawn larger than it is, to be seen.

    Raises
    ------
    OutputError
        `path` exists or cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = int(np.ceil(np.sqrt(len(scenes) * 1.4))) if len(scenes) > 1 else 1
    rows = -(-len(scenes) // columns)
    width, height = _panel_size(scenes[0], columns)
    classes = labels.classes if labels is not None else None
    legend = 0.0 if classes is None else 0.6 + 0.22 * -(-len(classes) // 4)
    page = (max(columns * width, 6.0) + 2 * _MARGIN, rows * (height + 0.3) + legend + _MARGIN)
    figure = Figure(figsize=page)
    FigureCanvasAgg(figure)
    for number, scene in enumerate(scenes):
        row, column = divmod(number, columns)
        bottom = page[1] - (row + 1) * (height + 0.3)
        left = column * width + (page[0] - columns * width) / 2
        box = (left / page[0], bottom / page[1], 0.96 * width / page[0], height / page[1])
        axes = figure.add_axes(box)
        axes.set_title(scene.hsi_path.stem, fontsize=9, pad=3)
        axes.set_xticks([])
        axes.set_yticks([])
        down, across = scene.grid.shape
        axes.imshow(rgb_composite(scene), extent=(0, across, down, 0), aspect="auto", interpolation="nearest")
        if labels is None or classes is None:
            continue
        mine = labels.scene == number
        row_, column_ = labels.row[mine], labels.column[mine]
        colors = np.array(classes.colors, float)[labels.label[mine] - 1] / 255
        if 72 * 0.96 * width / across >= _SMALLEST:
            overlay = np.zeros((down, across, 4))
            overlay[row_, column_, :3], overlay[row_, column_, 3] = colors, 0.8
            axes.imshow(overlay, extent=(0, across, down, 0), aspect="auto", interpolation="nearest")
        else:
            axes.scatter(column_ + 0.5, row_ + 0.5, s=_SMALLEST**2, c=colors, marker="s", linewidths=0)
            axes.set_xlim(0, across)
            axes.set_ylim(down, 0)
    if classes is not None and labels is not None:
        entries = [
            Patch(
                facecolor=(color[0] / 255, color[1] / 255, color[2] / 255), label=f"{name[:_LONGEST_NAME]}  {count:,}"
            )
            for name, color, count in zip(classes.names, classes.colors, labels.counts().tolist(), strict=True)
        ]
        figure.legend(handles=entries, loc="lower center", ncols=4, fontsize=8, frameon=False, title="Labelled pixels")
    with FileSet(path, overwrite=overwrite) as files:
        figure.savefig(files.stage(path), dpi=110, facecolor="white", format="png")


def _panel_size(scene: Scene, columns: int) -> tuple[float, float]:
    """Width and height in inches of one of `columns` panels side by side."""
    down, across = scene.grid.shape
    transform = scene.grid.transform
    aspect = down * np.hypot(transform.b, transform.e) / (across * np.hypot(transform.a, transform.d))
    width = min(_LARGEST, _LARGEST / aspect) if columns == 1 else _PAGE / columns
    return float(max(width, 1.0)), float(np.clip(width * aspect, 0.8, 2 * _LARGEST))
