"""How well a map agrees with the truth: confusion matrix and the scores that remote sensing derives from it.

Formulas: Congalton & Green, "Assessing the Accuracy of Remotely Sensed Data" (overall, average, user's and producer's
accuracy, kappa). Throughout, **rows are the truth and columns the map**. A truth pixel that the map leaves unclassified
counts as an error of its class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ORIENTATION = "rows = truth, columns = map"
_LINE = 100  # characters of the text report
_LONGEST_NAME = 28


def confusion_matrix(truth: NDArray[np.integer], mapped: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Pixel counts [K, K + 1] from labels of any equal shape: `truth` in 1 … K (0: not labelled, left out), `mapped` in
    0 … K. Element [i, j] counts pixels of truth i + 1 mapped as j; column 0 holds the unclassified ones."""
    labelled = truth > 0
    pairs = (truth[labelled].astype(np.int64) - 1) * (classes + 1) + mapped[labelled]
    return np.bincount(pairs, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


@dataclass(frozen=True)
class Accuracy:
    """Scores of a map against the truth. Scores without a defined value (no pixel to divide by) are NaN, null in JSON.

    `matrix` [K, K] counts pixels with the truth in rows and the map in columns; `unclassified` [K] counts the truth
    pixels of each class on which the map holds no class. `notes` tell in words what was compared and what left out.
    """

    names: tuple[str, ...]
    matrix: NDArray[np.int64]
    unclassified: NDArray[np.int64]
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, counts: NDArray[np.int64], names: tuple[str, ...], notes: tuple[str, ...] = ()) -> Accuracy:
        """From the [K, K + 1] counts of `confusion_matrix`."""
        return cls(names, counts[:, 1:], counts[:, 0], notes)

    @property
    def pixels(self) -> int:
        """Truth pixels compared."""
        return int(self.support.sum())

    @property
    def support(self) -> NDArray[np.int64]:
        """Truth pixels per class, [K]."""
        return self.matrix.sum(axis=1) + self.unclassified

    @property
    def mapped(self) -> NDArray[np.int64]:
        """Compared pixels per class of the map, [K]."""
        return self.matrix.sum(axis=0)

    @property
    def coverage(self) -> float:
        """Share of the truth pixels on which the map holds a class."""
        return _ratio(self.matrix.sum(), self.pixels)

    @property
    def oa(self) -> float:
        """Overall accuracy: right pixels of all truth pixels, unclassified ones counted as wrong."""
        return _ratio(np.trace(self.matrix), self.pixels)

    @property
    def oa_classified(self) -> float:
        """Overall accuracy over the classified pixels alone."""
        return _ratio(np.trace(self.matrix), self.matrix.sum())

    @property
    def aa(self) -> float:
        """Average accuracy: mean recall of the classes present in the truth."""
        present = self.recall[self.support > 0]
        return float(present.mean()) if len(present) else np.nan

    @property
    def kappa(self) -> float:
        """Cohen's kappa, (p_o − p_e) / (1 − p_e), with p_e from the margins; unclassified is a column without a row."""
        expected = _ratio((self.support.astype(float) * self.mapped).sum(), float(self.pixels) ** 2)
        return _ratio(self.oa - expected, 1 - expected)

    @property
    def oa_se(self) -> float:
        """Standard error of `oa`, were the truth pixels drawn independently at random: √(p(1 − p)/n)."""
        return _standard_error(np.array([self.oa]), np.array([self.pixels]))[0]

    @property
    def kappa_se(self) -> float:
        """Large-sample standard error of `kappa` under independent draws (Fleiss et al., 1969)."""
        counts = np.zeros((len(self.names) + 1,) * 2)
        counts[1:, 1:], counts[1:, 0] = self.matrix, self.unclassified
        n = counts.sum()
        if not n:
            return np.nan
        share = counts / n
        truth, mapped = share.sum(axis=1), share.sum(axis=0)
        agreed, expected = np.trace(share), truth @ mapped
        if expected == 1:
            return np.nan
        third = np.diag(share) @ (truth + mapped)
        fourth = (share * (mapped[:, None] + truth[None, :]) ** 2).sum()
        miss, rest = 1 - agreed, 1 - expected
        variance = (
            agreed * miss / rest**2
            + 2 * miss * (2 * agreed * expected - third) / rest**3
            + miss**2 * (fourth - 4 * expected**2) / rest**4
        ) / n
        return float(np.sqrt(max(variance, 0.0)))

    @property
    def precision_se(self) -> NDArray[np.float64]:
        """Standard error of `precision`, [K], under independent draws."""
        return _standard_error(self.precision, self.mapped)

    @property
    def recall_se(self) -> NDArray[np.float64]:
        """Standard error of `recall`, [K], under independent draws."""
        return _standard_error(self.recall, self.support)

    @property
    def precision(self) -> NDArray[np.float64]:
        """User's accuracy, [K]: right pixels of those mapped as the class."""
        return _ratios(np.diag(self.matrix), self.mapped)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Producer's accuracy, [K]: right pixels of those that are the class."""
        return _ratios(np.diag(self.matrix), self.support)

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall, [K]: 2·right / (mapped + support)."""
        return _ratios(2 * np.diag(self.matrix), self.mapped + self.support)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union, [K]: right / (mapped + support − right)."""
        right = np.diag(self.matrix)
        return _ratios(right, self.mapped + self.support - right)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and lists, for JSON; undefined scores are None."""
        columns = {
            "truth_pixels": self.support,
            "mapped_pixels": self.mapped,
            "unclassified_pixels": self.unclassified,
            "precision": self.precision,
            "precision_standard_error": self.precision_se,
            "recall": self.recall,
            "recall_standard_error": self.recall_se,
            "f1": self.f1,
            "iou": self.iou,
        }
        return {
            "pixels": self.pixels,
            "coverage": _defined(self.coverage),
            "overall_accuracy": _defined(self.oa),
            "overall_accuracy_standard_error": _defined(self.oa_se),
            "overall_accuracy_classified": _defined(self.oa_classified),
            "average_accuracy": _defined(self.aa),
            "kappa": _defined(self.kappa),
            "kappa_standard_error": _defined(self.kappa_se),
            "classes": [
                {"name": name} | {key: _defined(column[index].item()) for key, column in columns.items()}
                for index, name in enumerate(self.names)
            ],
            "confusion_matrix": {
                "orientation": ORIENTATION,
                "classes": list(self.names),
                "counts": self.matrix.tolist(),
                "unclassified": self.unclassified.tolist(),
            },
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """A report for a terminal of 100 columns: summary, table of classes, confusion matrix."""
        return "\n\n".join([self._summary(), self._class_table(), self._matrix_table()])

    def _summary(self) -> str:
        lines = [
            f"Overall accuracy (OA)  {_percent(self.oa)}   of {self.pixels:,} truth pixels"
            f"{_plus_minus(100 * self.oa_se)}",
            f"Average accuracy (AA)  {_percent(self.aa)}   mean recall of {np.count_nonzero(self.support)} classes",
            f"Kappa                  {_score(self.kappa, 4):>8}{_plus_minus(self.kappa_se, 4)}",
        ]
        if self.unclassified.any():
            left = self.unclassified.sum()
            lines.append(f"Classified             {_percent(self.coverage)}   {left:,} unclassified, counted as wrong")
            lines.append(f"OA of the classified   {_percent(self.oa_classified)}")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])

    def _class_table(self) -> str:
        heads = ("precision", "recall", "F1", "IoU", "truth", "mapped")
        rows = [
            [
                *(_score(score[index], 4) for score in (self.precision, self.recall, self.f1, self.iou)),
                f"{truth:,}",
                f"{mapped:,}",
            ]
            for index, (truth, mapped) in enumerate(zip(self.support, self.mapped, strict=True))
        ]
        widths = [max(len(head), 9, *(len(row[i]) for row in rows)) for i, head in enumerate(heads)]
        title = "".ljust(self._label_width) + _aligned(heads, widths)
        lines = [label + _aligned(row, widths) for label, row in zip(self._labels, rows, strict=True)]
        return "\n".join([title, *lines, "precision = user's accuracy, recall = producer's accuracy"])

    def _matrix_table(self) -> str:
        """The matrix with class numbers over its columns, cut into several tables where it is wider than the line."""
        cells = [[f"{count}" if count else "." for count in row] for row in self.matrix]
        heads = [str(number) for number in range(1, len(self.names) + 1)]
        if self.unclassified.any():
            heads.append("unclassified")
            cells = [[*row, f"{count}" if count else "."] for row, count in zip(cells, self.unclassified, strict=True)]
        widths = [max(len(head), *(len(row[i]) for row in cells)) for i, head in enumerate(heads)]
        tables = []
        start = 0
        while start < len(heads):
            stop = start + 1
            while (
                stop < len(heads) and self._label_width + sum(2 + width for width in widths[start : stop + 1]) <= _LINE
            ):
                stop += 1
            title = "truth \\ map".ljust(self._label_width) + _aligned(heads[start:stop], widths[start:stop])
            lines = [
                label + _aligned(row[start:stop], widths[start:stop])
                for label, row in zip(self._labels, cells, strict=True)
            ]
            tables.append("\n".join([title, *lines]))
            start = stop
        return f"Confusion matrix, pixels: {ORIENTATION} (class numbers)\n" + "\n\n".join(tables)

    @property
    def _labels(self) -> list[str]:
        digits = len(str(len(self.names)))
        labels = [f"{number:>{digits}} {_shortened(name)}" for number, name in enumerate(self.names, start=1)]
        return [label.ljust(self._label_width) for label in labels]

    @property
    def _label_width(self) -> int:
        longest = max(len(_shortened(name)) for name in self.names)
        return max(len("truth \\ map"), len(str(len(self.names))) + 1 + longest)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else np.nan


def _ratios(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _standard_error(share: NDArray[np.float64], count: NDArray[np.integer]) -> NDArray[np.float64]:
    return np.sqrt(_ratios(share * (1 - share), count))


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value


def _score(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return f"{_score(100 * value, 2):>6} %"


def _plus_minus(error: float, digits: int = 2) -> str:
    return "" if np.isnan(error) else f"   standard error {error:.{digits}f}"


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _aligned(cells: tuple[str, ...] | list[str], widths: list[int]) -> str:
    return "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
