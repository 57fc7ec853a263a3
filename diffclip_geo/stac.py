"""STAC Items (SpatioTemporal Asset Catalog 1.1) of maps and models, for catalogues."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rasterio.warp

from . import __version__
from .classes import ClassTable
from .grid import Grid
from .provenance import file_facts

_EXTENSIONS = {
    "classification": "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "file": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "mlm": "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
    "projection": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
}
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_SHA256 = "1220"  # multihash prefix: SHA-256, of 32 bytes


def stac_item(
    name: str, grids: Sequence[Grid], extensions: Sequence[str], created: str | None, properties: dict[str, Any]
) -> dict[str, Any]:
    """An Item without assets, over the ground of `grids`; `extensions` are names of the table above."""
    footprint, bbox = _footprint(grids)
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_EXTENSIONS[one] for one in extensions],
        "id": re.sub(r"[^A-Za-z0-9_.-]+", "-", name),
        "geometry": footprint,
        "properties": {"datetime": _utc(created), "created": _utc(created), **properties},
        "links": [],
        "assets": {},
    }
    if bbox is not None:
        item["bbox"] = bbox
    return item


def asset(
    path: Path, item_path: Path, media_type: str, title: str, roles: Sequence[str], **more: Any
) -> dict[str, Any]:
    """A file as an asset, with its size and checksum, by its path from the Item where it has one."""
    facts = file_facts(path)
    try:
        href = path.resolve().relative_to(item_path.resolve().parent).as_posix()
    except ValueError:
        href = path.resolve().as_uri()
    return {
        "href": href,
        "type": media_type,
        "title": title,
        "roles": list(roles),
        "file:size": facts["bytes"],
        "file:checksum": _SHA256 + facts["sha256"],
        **more,
    }


def classes_of(classes: ClassTable) -> list[dict[str, Any]]:
    """Classes 1 … K as the classification extension has them: the name as title, and a name without odd characters."""
    found = []
    for value, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True), start=1):
        plain = re.sub(r"[^0-9A-Za-z_-]+", "_", name).strip("_") or f"class_{value}"
        hint = "{:02X}{:02X}{:02X}".format(*color)
        found.append({"value": value, "name": plain, "title": name, "description": name, "color_hint": hint})
    return found


def projection_of(grid: Grid) -> dict[str, Any]:
    """Fields of the projection extension."""
    code = None if grid.crs is None else grid.crs.to_authority()
    fields: dict[str, Any] = {
        "proj:code": None if code is None else ":".join(code),
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform)[:6],
    }
    if code is None and grid.crs is not None:
        fields["proj:wkt2"] = grid.crs.to_wkt()
    return fields


def model_properties(
    facts: dict[str, Any], trained: dict[str, Any], parameters: int, framework_version: str
) -> dict[str, Any]:
    """Fields of the machine-learning-model extension, from the manifests of a workspace."""
    preset, classes = facts["preset"], ClassTable.from_dict(trained["classes"])
    scene = facts["scenes"][0]
    bands = [f"channel {number}" for number in range(1, sum(facts["channels"]) + 1)]
    window = preset["encoder"]["window"]
    return {
        "title": f"diffclip-geo classifier of {len(classes)} classes",
        "description": f"Classifies pixels of {Path(str(scene.get('hsi', 'scene'))).name}: {', '.join(classes.names)}.",
        "bands": [{"name": band} for band in bands],
        "mlm:name": "diffclip-geo classifier",
        "mlm:architecture": "DiffCLIP",
        "mlm:tasks": ["classification"],
        "mlm:framework": "PyTorch",
        "mlm:framework_version": re.match(r"\d+\.\d+\.\d+", framework_version)[0],  # type: ignore[index]
        "mlm:total_parameters": parameters,
        "mlm:pretrained": True,
        "mlm:pretrained_source": "unlabelled pixels of the scene",
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:input": [
            {
                "name": "window",
                "description": "Normalised channels of all modalities around a pixel.",
                "bands": bands,
                "input": {
                    "shape": [-1, window, window, len(bands)],
                    "dim_order": ["batch", "height", "width", "bands"],
                    "data_type": "float32",
                },
                "value_scaling": None,
            }
        ],
        "mlm:output": [
            {
                "name": "probabilities",
                "tasks": ["classification"],
                "result": {"shape": [-1, len(classes)], "dim_order": ["batch", "class"], "data_type": "float32"},
                "classification:classes": classes_of(classes),
            }
        ],
        "mlm:hyperparameters": {
            "preset": facts["preset_name"],
            "pretraining_steps": facts["steps"],
            "fewshot_steps": trained["steps"],
            "prompt": trained["prompt"],
            "seed": trained["seed"],
            "labelled_pixels": int(sum(trained["pixels"])),
        },
        "processing:software": {"diffclip-geo": __version__},
    }


def write_item(path: Path, item: dict[str, Any]) -> None:
    """Write an Item as indented JSON, usually to a staged path."""
    path.write_text(json.dumps(item, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _footprint(grids: Sequence[Grid]) -> tuple[dict[str, Any] | None, list[float] | None]:
    """Outline in longitude and latitude, and its box; None without a coordinate system."""
    rings = []
    for grid in grids:
        if grid.crs is None:
            return None, None
        corners = [(0, 0), (0, grid.height), (grid.width, grid.height), (grid.width, 0), (0, 0)]
        xs, ys = grid.to_map([one[0] for one in corners], [one[1] for one in corners])  # type: ignore[arg-type]
        longitude, latitude = rasterio.warp.transform(grid.crs, "EPSG:4326", xs, ys)
        rings.append([[round(x, 7), round(y, 7)] for x, y in zip(longitude, latitude, strict=True)])
    xs_all = [x for ring in rings for x, _ in ring]
    ys_all = [y for ring in rings for _, y in ring]
    box = [min(xs_all), min(ys_all), max(xs_all), max(ys_all)]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings}, box
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}, box


def _utc(created: str | None) -> str:
    """A time stamp as STAC wants it; now, when there is none."""
    moment = datetime.now(UTC) if created is None else datetime.fromisoformat(created)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
