"""Small text tables that come with labels: attributes to join, and legends."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from .errors import LabelError


@dataclass(frozen=True)
class Table:
    """Rows of text by column name, as in the file."""

    rows: tuple[dict[str, str], ...]
    columns: tuple[str, ...]

    def column(self, names: set[str]) -> str | None:
        """The first column with one of these names, whatever their case."""
        return next((column for column in self.columns if column.strip().lower() in names), None)


def read_table(path: Path, option: str) -> Table:
    """A CSV table: commas, semicolons or tabs; UTF-8, else Windows-1252. `option` is what named it, for messages.

    Raises
    ------
    LabelError
        The file is missing, or is no text.
    """
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "does not exist"
        raise LabelError(path, fault, f"check the path given to {option}")
    raw = path.read_bytes()
    if b"\0" in raw:
        raise LabelError(path, "is not a text table", f"give a CSV file to {option}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    lines = text.splitlines()
    first = lines[0] if lines else ""
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(lines, delimiter=delimiter, restval="")
    return Table(tuple(reader), tuple(name for name in reader.fieldnames or [] if name))
