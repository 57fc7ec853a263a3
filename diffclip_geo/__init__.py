"""Land-cover maps from a hyperspectral image, a LiDAR raster and a handful of labelled points.

Each command of the program is one function of the same name. Functions are imported on first use, so that
``import diffclip_geo`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "ArrayModel": "arrays",
    "DiffClipGeoError": "errors",
    "simulate": "simulation",
    "pretrain": "workflow.pretrain",
    "fewshot": "workflow.fewshot",
    "classify": "workflow.classify",
    "demo": "workflow.demo",
    "suggest": "workflow.suggest",
    "prompts_init": "workflow.prompts",
    "prompts_describe": "workflow.prompts",
    "evaluate": "evaluation",
    "features": "workflow.features",
    "export": "workflow.export",
    "benchmark": "benchmarking",
    "info": "inspection",
    "convert": "conversion",
}
__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
