"""What a map was made from and with: ``map.json`` beside the map, and the same facts as TIFF tags."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# Facts that differ between two equal runs. They stay out of the TIFF, so that equal runs make equal bytes.
_VARYING = ("created", "timings")
_PIECE = 16_000_000  # bytes hashed before other threads of Python get their turn


def provenance_path(map_path: Path) -> Path:
    """``map.json`` for ``map.tif``."""
    return map_path.with_suffix(".json")


def file_facts(path: Path) -> dict[str, Any]:
    """Name, size in bytes and SHA-256 of a file."""
    digest, piece = hashlib.sha256(), bytearray(_PIECE)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(piece):
            digest.update(memoryview(piece)[:size])
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": digest.hexdigest()}


@cache
def software_versions() -> dict[str, str]:
    """Versions of the program, Python, and the libraries that decide what is computed."""
    from rasterio import __gdal_version__

    packages = ("diffclip-geo", "numpy", "torch", "timm", "rasterio")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return versions | {"gdal": __gdal_version__, "python": platform.python_version()}


def provenance_tags(facts: Mapping[str, Any]) -> dict[str, str]:
    """The facts as TIFF tags: one per top-level fact, in capitals, as JSON unless it is text or a path.

    ``created`` and ``timings`` are left out, because they would make every file differ.
    """
    kept = {name.upper(): value for name, value in facts.items() if name not in _VARYING}
    return {name: str(value) if isinstance(value, str | Path) else to_json(value) for name, value in kept.items()}


def write_provenance(path: Path, facts: Mapping[str, Any]) -> None:
    """Write the facts as indented JSON to `path`, usually a staged one (see `atomic.FileSet.stage`)."""
    path.write_text(to_json(facts, indent=2) + "\n", encoding="utf-8")


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON of nested facts, in which paths, numpy scalars and arrays may occur; NaN becomes null."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
