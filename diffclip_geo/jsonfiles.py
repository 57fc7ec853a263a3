"""Facts on disk as JSON, and files that are written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import WorkspaceError


def save_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write indented JSON, then move it into place."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file that replaces `path` when the block ends well. Raises WorkspaceError on a full disk."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        remedy = "free space, or choose another --workspace"
        raise WorkspaceError(path, f"cannot be written ({error.strerror or error})", remedy) from error
    finally:
        temporary.unlink(missing_ok=True)
