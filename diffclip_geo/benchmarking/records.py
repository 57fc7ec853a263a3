"""Results on disk: one JSON line per run and per cell, so that a killed benchmark goes on where it stopped."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from ..provenance import to_json


class Cell(NamedTuple):
    """What is measured once."""

    scene: str
    split: str
    shots: int
    seed: int
    method: str


class Records:
    """The lines of a results file. A line cut off by a kill is dropped, its cell measured again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[list[dict[str, Any]], dict[Cell, dict[str, Any]]]:
        """Facts of the runs, and the cells; the last line of a cell counts."""
        runs, cells = [], {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if "run" in entry:
                    runs.append(entry["run"])
                else:
                    cells[Cell(*(entry[name] for name in Cell._fields))] = entry
        return runs, cells

    def add(self, entry: dict[str, Any]) -> None:
        """Append one line, whole and on disk."""
        text = to_json(entry) + "\n"
        if self.path.exists() and self.path.stat().st_size:
            with self.path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                text = text if file.read() == b"\n" else "\n" + text
        with self.path.open("ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())


def run_facts(arguments: Sequence[str], device: str) -> dict[str, Any]:
    """When, with what and on what kind of machine a run was made."""
    packages = ("diffclip-geo", "numpy", "scipy", "torch", "scikit-learn")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(arguments),
        "commit": _commit(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "device": device,
        "versions": {"python": platform.python_version()} | dict(_versions(packages)),
    }


def _versions(packages: Iterable[str]) -> Iterable[tuple[str, str]]:
    for package in packages:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue


def _commit() -> str:
    """Commit of the source tree, marked when files differ from it; "unknown" for an installed package."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + (" with changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    """Model of the processor, without anything that names the machine."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
