"""Labels from several files as one: those of a first campaign and the points that were labelled later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .classes import ClassTable
from .labels import LabelledPixels, LabelReport
from .palette import Color
from .scenes import natural


def merge_labels(parts: Sequence[LabelledPixels]) -> LabelledPixels:
    """All pixels of the parts, which were read for the same grids.

    Classes of one name are one class, however it is capitalised; the first part has the say on spelling and colour. A
    pixel that two parts put into different classes is dropped and counted; one that they agree on stays in the first.
    """
    if len(parts) == 1:
        return parts[0]
    spelling: dict[str, str] = {}
    color: dict[str, Color] = {}
    for part in parts:
        for name, shade in zip(part.classes.names, part.classes.colors, strict=True):
            color.setdefault(spelling.setdefault(_plain(name), name), shade)
    names = sorted(color, key=natural)
    scene = np.concatenate([part.scene for part in parts])
    row, column = np.concatenate([part.row for part in parts]), np.concatenate([part.column for part in parts])
    number = [np.array([names.index(spelling[_plain(name)]) + 1 for name in part.classes.names]) for part in parts]
    label = np.concatenate([table[part.label - 1] for table, part in zip(number, parts, strict=True)])
    start = np.cumsum([0, *(int(part.group.max(initial=-1)) + 1 for part in parts)])
    group = np.concatenate([part.group + first for part, first in zip(parts, start, strict=False)])
    order = np.lexsort((np.arange(len(label)), column, row, scene))
    place = np.stack([scene, row, column])[:, order]
    first = np.flatnonzero(np.r_[True, (place[:, 1:] != place[:, :-1]).any(0)])
    low, high = np.minimum.reduceat(label[order], first), np.maximum.reduceat(label[order], first)
    kept = order[first[low == high]]
    merged = LabelledPixels(
        ClassTable(tuple(names), tuple(color[name] for name in names)),
        scene[kept],
        row[kept],
        column[kept],
        label[kept],
        group[kept],
        LabelReport((), ()),
    )
    return _without_empty(merged, parts, int((low != high).sum()))


def _without_empty(merged: LabelledPixels, parts: Sequence[LabelledPixels], contradicted: int) -> LabelledPixels:
    """The merged pixels with their report, without classes that contradictions have emptied."""
    present = np.flatnonzero(merged.counts() > 0)
    number = np.zeros(len(merged.classes) + 1, np.int64)
    number[present + 1] = np.arange(1, len(present) + 1)
    lost = [name for index, name in enumerate(merged.classes.names) if index not in present]
    label = number[merged.label]
    reports = [part.report for part in parts]
    report = LabelReport(
        tuple(len(np.unique(merged.group[label == one])) for one in range(1, len(present) + 1)),
        tuple(int((label == one).sum()) for one in range(1, len(present) + 1)),
        conflicts=contradicted + sum(one.conflicts for one in reports),
        outside=sum(one.outside for one in reports),
        nearest=sum(one.nearest for one in reports),
        repaired=sum(one.repaired for one in reports),
        empty=sum(one.empty for one in reports),
        unlabelled=sum(one.unlabelled for one in reports),
        invalid=sum(one.invalid for one in reports),
        notes=(
            *(note for one in reports for note in one.notes),
            *([f"no pixel is left of {', '.join(lost)}"] if lost else []),
        ),
    )
    classes = ClassTable(
        tuple(merged.classes.names[index] for index in present),
        tuple(merged.classes.colors[index] for index in present),
    )
    return LabelledPixels(classes, merged.scene, merged.row, merged.column, label, merged.group, report)


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
