"""Provenance facts as JSON and as TIFF tags."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from diffclip_geo.provenance import file_facts, provenance_path, provenance_tags, software_versions, write_provenance


def test_facts_of_all_kinds(tmp_path: Path) -> None:
    scene = tmp_path / "scene.tif"
    scene.write_bytes(b"pixels")
    facts = {
        "inputs": [file_facts(scene)],
        "options": {"shots": np.int64(5), "rate": float("nan"), "weights": np.array([0.5, 1])},
        "model": scene,
        "versions": software_versions(),
        "timings": {"total": 1.5},
    }
    write_provenance(provenance_path(tmp_path / "map.tif"), facts)
    found = json.loads((tmp_path / "map.json").read_text())
    assert found["inputs"] == [{"path": str(scene), "bytes": 6, "sha256": hashlib.sha256(b"pixels").hexdigest()}]
    assert found["options"] == {"shots": 5, "rate": None, "weights": [0.5, 1]}
    assert found["model"] == str(scene) and found["versions"]["diffclip-geo"]
    tags = provenance_tags(facts)
    assert tags["MODEL"] == str(scene)
    assert json.loads(tags["OPTIONS"])["shots"] == 5
    assert "TIMINGS" not in tags
