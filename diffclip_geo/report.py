"""The accuracy report as one self-contained HTML file, as JSON and as CSV."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__
from .accuracy import ORIENTATION
from .area_estimation import Z95
from .provenance import to_json

if TYPE_CHECKING:
    from .calibration import Calibration
    from .evaluation import Evaluation

_TEMPLATE = "report.html"
_DARK, _BAR = "#1b4b5a", "#7fb3b0"


def report_json(found: Evaluation) -> str:
    """Everything, for programs."""
    return to_json(found.to_dict(), indent=2) + "\n"


def report_csv(found: Evaluation) -> str:
    """One row per class, then one row per score of the whole map; undefined scores are empty."""
    facts = found.to_dict()
    areas = {} if facts["area_estimates"] is None else {one["name"]: one for one in facts["area_estimates"]["classes"]}
    columns = [*facts["classes"][0], "mapped_area_pixels", "estimated_area_pixels", "estimated_area_half_width_pixels"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *(f"mapped as {name}" for name in found.names)])
    for index, row in enumerate(facts["classes"]):
        area = areas.get(row["name"], {}).get("area_pixels", {})
        cells = [
            *row.values(),
            found.mapped_pixels[index],
            area.get("estimate"),
            area.get("half_width"),
            *found.matrix[index].tolist(),
        ]
        writer.writerow([_cell(cell) for cell in cells])
    writer.writerow([])
    writer.writerow(["score", "value", "standard_error"])
    for name, score, error in (
        ("overall_accuracy", found.oa, found.oa_se),
        ("average_accuracy", found.aa, None),
        ("kappa", found.kappa, found.kappa_se),
        ("coverage", found.coverage, None),
        ("expected_calibration_error", found.calibration and found.calibration.expected_error, None),
    ):
        writer.writerow([name, _cell(score), _cell(error)])
    return text.getvalue()


def report_html(found: Evaluation) -> str:
    """A page for people: scores, confusion matrix, areas with intervals, calibration. It needs no other file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    page = Environment(
        loader=PackageLoader("diffclip_geo"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters |= {"percent": _percent, "score": _score, "whole": _whole}
    text: str = page.get_template(_TEMPLATE).render(
        found=found,
        version=__version__,
        orientation=ORIENTATION,
        cells=_shaded(found),
        areas=_area_rows(found),
        unit="pixels" if found.pixel_area is None else "ha",
        calibration_plot=None if found.calibration is None else _calibration_plot(found.calibration),
        picture=_picture(found.map_path.with_suffix(".png")),
    )
    return text


def _shaded(found: Evaluation) -> list[list[tuple[int, float, bool]]]:
    """Cells of the confusion matrix, unclassified last if there are any: count, share of the row, whether right."""
    columns = [found.matrix]
    if found.unclassified.any():
        columns.append(found.unclassified[:, None])
    table = np.concatenate(columns, axis=1)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    return [
        [(int(count), float(part), i == j) for j, (count, part) in enumerate(zip(counts, parts, strict=True))]
        for i, (counts, parts) in enumerate(zip(table, share, strict=True))
    ]


def _area_rows(found: Evaluation) -> list[dict[str, Any]]:
    if found.areas is None:
        return []
    factor = 1.0 if found.pixel_area is None else found.pixel_area / 10_000
    scale = found.areas.pixels * factor
    rows = []
    for i, name in enumerate(found.areas.names):
        estimate, error = found.areas.share[i] * scale, Z95 * found.areas.share_se[i] * scale
        rows.append(
            {
                "name": name,
                "mapped": found.areas.mapped_share[i] * scale,
                "estimate": estimate,
                "low": max(estimate - error, 0.0),
                "high": estimate + error,
                "users": (found.areas.users[i], Z95 * found.areas.users_se[i]),
                "producers": (found.areas.producers[i], Z95 * found.areas.producers_se[i]),
            }
        )
    return rows


def _calibration_plot(calibration: Calibration) -> str:
    """The calibration curve as SVG text: accuracy against confidence, and how many pixels each bin has."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "diffclip-geo"}):
        figure = Figure(figsize=(4.6, 4.8), layout="constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="perfect")
        shown = calibration.pixels > 0
        axes.plot(calibration.confidence[shown], calibration.accuracy[shown], "-", color=_DARK, linewidth=1)
        size = 12 + 90 * calibration.pixels[shown] / calibration.pixels.max()
        axes.scatter(calibration.confidence[shown], calibration.accuracy[shown], size, color=_DARK, label="this map")
        axes.set(ylabel="share of right pixels", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(frameon=False, loc="upper left")
        axes.grid(alpha=0.25)
        edges = np.linspace(0, 1, len(calibration.pixels) + 1)
        below.bar(edges[:-1], calibration.pixels, np.diff(edges), align="edge", color=_BAR, edgecolor="white")
        below.set(xlabel="confidence", ylabel="pixels")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _picture(path: Path) -> str | None:
    """The quicklook beside the map as a data URL."""
    if not path.is_file():
        return None
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def _percent(value: float, digits: int = 2) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.{digits}f} %"


def _score(value: float, digits: int = 4) -> str:
    return "–" if np.isnan(value) else f"{value:,.{digits}f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"
