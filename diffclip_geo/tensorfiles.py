"""Tensors and facts on disk: safetensors, written whole or not at all. No pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from .errors import WorkspaceError
from .jsonfiles import replacing


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None = None) -> None:
    """Write tensors, and facts as JSON in the file's metadata, then move the file into place."""
    content = save(
        {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {"facts": json.dumps(dict(facts or {}))}
    )
    with replacing(path) as temporary:
        temporary.write_bytes(content)  # the library's own files can be read by nobody else, whatever the umask


def load_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, on the CPU. Raises WorkspaceError when it is missing or damaged."""
    try:
        tensors: dict[str, Tensor] = load_file(str(path))
    except (SafetensorError, OSError) as error:
        remedy = "run the command that wrote it again: pretrain for the encoder, fewshot for the classifier"
        raise WorkspaceError(path, f"cannot be read ({error})", remedy) from error
    return tensors


def load_facts(path: Path) -> dict[str, Any]:
    """The facts stored with the tensors."""
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        facts: dict[str, Any] = json.loads((file.metadata() or {}).get("facts", "{}"))
        return facts


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser as named tensors."""
    state = optimiser.state_dict()["state"]
    return {f"optimiser.{index}.{key}": value for index, entry in state.items() for key, value in entry.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of `optimiser_tensors`; other names are ignored."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
