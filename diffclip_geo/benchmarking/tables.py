"""The table of a benchmark as text, CSV and HTML."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from .methods import METHODS, PEER_NAMES
from .records import Cell
from .scores import unpack_right
from .significance import Comparison, mcnemar_p, paired_p

TWO_CLASS = ("acc", "auc", "sensitivity", "specificity")
_REFERENCE = "ours"


class Setting(NamedTuple):
    """What methods are compared at."""

    scene: str
    split: str
    shots: int


@dataclass(frozen=True)
class Published:
    """A figure from a publication, in percent."""

    setting: Setting
    method: str
    oa: float
    aa: float
    source: str


@dataclass(frozen=True)
class Row:
    """One method at one setting; means and standard deviations over the seeds, accuracies in percent."""

    setting: Setting
    method: str
    cells: tuple[dict[str, Any], ...]  # by seed

    @property
    def seeds(self) -> list[int]:
        """The seeds that were measured."""
        return [cell["seed"] for cell in self.cells]

    def on(self, seeds: Collection[int]) -> Row:
        """The row restricted to these seeds."""
        return replace(self, cells=tuple(cell for cell in self.cells if cell["seed"] in seeds))

    def values(self, name: str) -> NDArray[np.float64]:
        """A score of each seed, as it was recorded; NaN where there is none."""
        found = [cell[name] for cell in self.cells]
        return np.array([np.nan if value is None else value for value in found], np.float64)

    def percent(self, name: str) -> tuple[float, float]:
        """Mean and standard deviation in percent; the latter 0 for one seed."""
        return _mean_sd(100 * self.values(name))

    def two_class(self, name: str) -> tuple[float, float]:
        """Mean and standard deviation in percent of a score that two-class tasks have."""
        found = [cell["two_class"][name] for cell in self.cells if "two_class" in cell]
        return _mean_sd(100 * np.array([np.nan if value is None else value for value in found], np.float64))

    def seconds(self, name: str) -> float:
        """Mean time to prepare, train or map."""
        return float(np.mean([cell["seconds"][name] for cell in self.cells]))

    @property
    def rate(self) -> float:
        """Pixels mapped per second."""
        pixels = sum(cell["tested"] for cell in self.cells)
        return float(pixels / max(sum(cell["seconds"]["map"] for cell in self.cells), 1e-9))

    def recalls(self) -> NDArray[np.float64]:
        """Recall in percent of each class, mean over the seeds in which it is tested; NaN where it never is."""
        counts = np.array([cell["counts"] for cell in self.cells], np.float64)
        right, tested = np.diagonal(counts[:, :, 1:], axis1=1, axis2=2), counts.sum(2)
        share = np.divide(right, tested, out=np.full(right.shape, np.nan), where=tested > 0)
        seen = (tested > 0).sum(0)
        total: NDArray[np.float64] = 100 * np.nansum(share, 0)
        return np.divide(total, seen, out=np.full(len(seen), np.nan), where=seen > 0)


@dataclass(frozen=True)
class Results:
    """All rows, in the order of the registry, with the facts of the runs and figures quoted from publications."""

    runs: tuple[dict[str, Any], ...]
    rows: tuple[Row, ...]
    published: tuple[Published, ...] = ()

    @classmethod
    def of(
        cls,
        runs: Iterable[dict[str, Any]],
        cells: Mapping[Cell, dict[str, Any]],
        published: Iterable[Published] = (),
    ) -> Results:
        """From the lines of a results file."""
        order = {name: number for number, name in enumerate(METHODS)}
        grouped: dict[tuple[Setting, str], list[tuple[int, dict[str, Any]]]] = {}
        for cell, entry in cells.items():
            key = Setting(cell.scene, cell.split, cell.shots), cell.method
            grouped.setdefault(key, []).append((cell.seed, entry))
        rows = [
            Row(setting, method, tuple(entry for _, entry in sorted(found, key=lambda pair: pair[0])))
            for (setting, method), found in grouped.items()
        ]
        rows.sort(key=lambda row: (row.setting, order.get(row.method, len(order)), row.method))
        return cls(tuple(runs), tuple(rows), tuple(published))

    def settings(self) -> list[Setting]:
        """All settings, in order."""
        return sorted({row.setting for row in self.rows})

    def at(self, setting: Setting) -> list[Row]:
        """The rows of one setting."""
        return [row for row in self.rows if row.setting == setting]

    def row(self, setting: Setting, method: str) -> Row | None:
        """One row, if it was measured."""
        return next((row for row in self.at(setting) if row.method == method), None)

    def best_peer(self, setting: Setting, score: str, seeds: Collection[int]) -> Row | None:
        """The peer with the highest mean of a score, of those measured with all the seeds, on these seeds."""
        peers = [row.on(seeds) for row in self.at(setting) if row.method in PEER_NAMES]
        whole = [peer for peer in peers if len(peer.cells) == len(seeds)]
        return max(whole, key=lambda row: row.percent(score)[0], default=None)


def compare(row: Row, other: Row) -> Comparison:
    """`row` against `other`, on the seeds that both have."""
    theirs = {cell["seed"]: cell for cell in other.cells}
    pairs = [(cell, theirs[cell["seed"]]) for cell in row.cells if cell["seed"] in theirs]
    return Comparison(
        np.array([100 * (mine["oa"] - yours["oa"]) for mine, yours in pairs]),
        np.array([100 * (mine["aa"] - yours["aa"]) for mine, yours in pairs]),
        np.array([mcnemar_p(unpack_right(mine["right"]), unpack_right(yours["right"])) for mine, yours in pairs]),
    )


def read_published(path: Path) -> list[Published]:
    """Figures to show beside those measured: a CSV table with the columns scene, split, shots, method, oa, aa (in
    percent) and source. Raises OptionError.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                Published(
                    Setting(line["scene"], line["split"], int(line["shots"])),
                    line["method"],
                    float(line["oa"]),
                    float(line["aa"]),
                    line["source"],
                )
                for line in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise OptionError(
            path,
            f"is not a table of published figures ({error})",
            "use the columns scene,split,shots,method,oa,aa,source",
        ) from error


def write_tables(results: Results, files: Sequence[Path]) -> None:
    """Write text, table, page, classes and comparisons, each file whole."""
    contents = (
        to_text(results),
        _csv(score_table(results)),
        to_html(results),
        _csv(class_table(results)),
        _csv(comparison_table(results)),
    )
    for file, content in zip(files, contents, strict=True):
        temporary = file.with_name(f".{file.name}.part")
        temporary.write_text(content, encoding="utf-8", newline="")
        temporary.replace(file)


def score_table(results: Results) -> list[list[str]]:
    """A heading and one line per setting and method."""
    scores = [f"{name}_{part}" for name in ("oa", "aa", "kappa", "ece", *TWO_CLASS) for part in ("mean", "sd")]
    head = ["scene", "split", "shots", "method", "seeds", *scores, "prepare_s", "train_s", "map_s", "pixels_per_s"]
    lines = [[*head, "source"]]
    for row in results.rows:
        pairs = [*(row.percent(name) for name in ("oa", "aa", "kappa", "ece")), *map(row.two_class, TWO_CLASS)]
        numbers = [_number(value, 3) for pair in pairs for value in pair]
        times = [_number(row.seconds(name), 2) for name in ("prepare", "train", "map")]
        lines.append([*_named(row), str(len(row.cells)), *numbers, *times, _number(row.rate, 0), "measured"])
    for one in results.published:
        blank = [""] * (len(head) - 5 - 4)
        figures = [_number(one.oa, 3), "", _number(one.aa, 3), ""]
        lines.append([*map(str, one.setting), one.method, "", *figures, *blank, one.source])
    return lines


def class_table(results: Results) -> list[list[str]]:
    """A heading and the mean recall of every class."""
    lines = [["scene", "split", "shots", "method", "class", "recall_mean"]]
    for row in results.rows:
        for name, recall in zip(row.cells[0]["classes"], row.recalls(), strict=True):
            lines.append([*_named(row), name, _number(recall, 2)])
    return lines


def comparison_table(results: Results) -> list[list[str]]:
    """A heading and `ours` against every other method."""
    lines = [
        ["scene", "split", "shots", "method", "against", "seeds", "oa_difference", "oa_difference_sd", "oa_p",
         "aa_difference", "aa_difference_sd", "aa_p", "seeds_won", "mcnemar_won", "mcnemar_lost"]
    ]  # fmt: skip
    for setting in results.settings():
        mine = results.row(setting, _REFERENCE)
        for other in results.at(setting) if mine else ():
            if mine and other is not mine:
                found = compare(mine, other)
                counts = found.seeds_won, found.mcnemar_won, found.mcnemar_lost
                lines.append(
                    [
                        *_named(mine),
                        other.method,
                        str(len(found.oa)),
                        *(_number(value, 3) for value in (*_mean_sd(found.oa), found.oa_p)),
                        *(_number(value, 3) for value in (*_mean_sd(found.aa), found.aa_p)),
                        *map(str, counts),
                    ]
                )
    return lines


NOTES = (
    "OA overall accuracy, AA average accuracy (mean recall), kappa and ECE (expected calibration error, 15 bins) in "
    "percent, mean ± standard deviation over the seeds.",
    "Every method sees the same shots and is tested on the same pixels: all other labelled ones (random), or those of "
    "the polygons, blocks or plots that gave no shots (group).",
    "prepare: before the labels (features, pretraining), once per scene; train: per training; px/s: mapping, "
    "of features that are prepared.",
    "p: paired t-test over seeds; McNemar: seeds on which one map is better than the other at the 5 % level.",
)


def to_text(results: Results) -> str:
    """The table as aligned text."""
    parts = ["Accuracy of few-shot land-cover mapping", "\n".join(NOTES), "\n".join(_run_lines(results))]
    summary = summary_table(results)
    if len(summary) > 1:
        parts.append(
            "Against the best peer of each column, difference ± its standard deviation over the seeds\n\n"
            + _aligned(summary)
        )
    for setting in results.settings():
        rows = results.at(setting)
        parts.append(f"{_title(setting, rows)}\n\n{_aligned(setting_table(results, setting))}")
        parts.append("Recall per class, %\n\n" + _aligned(_recall_table(rows)))
    return "\n\n".join(parts) + "\n"


def summary_table(results: Results) -> list[list[str]]:
    """A heading and each method but the peers against the best peer in OA and in AA, on the seeds that the method has.

    "error cut" is the share by which the peer's error is smaller (negative: larger).
    """
    scores = ["best peer", "difference", "p", "error cut"]
    lines = [["scene", "split", "shots", "method", "seeds", "OA", *scores, "won", "McNemar +/−", "AA", *scores, "ECE"]]
    for row in results.rows:
        peers = [results.best_peer(row.setting, name, row.seeds) for name in ("oa", "aa")]
        if row.method in PEER_NAMES or peers[0] is None or peers[1] is None:
            continue
        first, second = compare(row, peers[0]), compare(row, peers[1])
        lines.append(
            [
                *_named(row),
                str(len(row.cells)),
                *_against(row, peers[0], "oa", first.oa),
                f"{first.seeds_won}/{len(first.oa)}",
                f"{first.mcnemar_won}/{first.mcnemar_lost}",
                *_against(row, peers[1], "aa", second.aa),
                _number(row.percent("ece")[0], 1),
            ]
        )
    return lines


def _against(row: Row, peer: Row, name: str, difference: NDArray[np.float64]) -> list[str]:
    own, theirs = row.percent(name)[0], peer.percent(name)[0]
    cut = (own - theirs) / (100 - theirs) if theirs < 100 else 0.0
    return [
        _number(own, 1),
        f"{theirs:.1f} {peer.method}",
        _signed(difference),
        _number(paired_p(difference), 3),
        f"{100 * cut:+.0f} %",
    ]


def setting_table(results: Results, setting: Setting) -> list[list[str]]:
    """A heading, the methods at one setting, and what was published for it."""
    rows = results.at(setting)
    two = any("two_class" in cell for row in rows for cell in row.cells)
    names = [
        "OA",
        "AA",
        "kappa",
        "ECE",
        *([name.upper() if len(name) == 3 else name for name in TWO_CLASS] if two else []),
    ]
    mine = results.row(setting, _REFERENCE)
    lines = [["method", "seeds", *names, "ours − it", "p", "prepare s", "train s", "px/s"]]
    for row in rows:
        pairs = [
            *(row.percent(name) for name in ("oa", "aa", "kappa", "ece")),
            *(map(row.two_class, TWO_CLASS) if two else ()),
        ]
        against = ["", ""]
        if mine is not None and mine is not row:
            found = compare(mine, row)
            against = [_signed(found.oa), _number(found.oa_p, 3)] if len(found.oa) else against
        times = [_number(row.seconds("prepare"), 1), _number(row.seconds("train"), 2), f"{row.rate:,.0f}"]
        lines.append([row.method, str(len(row.cells)), *(_plus_minus(*pair) for pair in pairs), *against, *times])
    for one in results.published:
        if one.setting == setting:
            blank = [""] * (len(lines[0]) - 4)
            lines.append([f"{one.method} [{one.source}]", "", _number(one.oa, 1), _number(one.aa, 1), *blank])
    return lines


def to_html(results: Results) -> str:
    """The table as one page that needs nothing else."""
    parts = ["<h1>Accuracy of few-shot land-cover mapping</h1>", *(f"<p>{escape(note)}</p>" for note in NOTES)]
    parts.append("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in _run_lines(results)) + "</ul>")
    summary = summary_table(results)
    if len(summary) > 1:
        parts += ["<h2>Against the best peer of each column</h2>", _html_table(summary, 4)]
    for setting in results.settings():
        rows = results.at(setting)
        parts += [f"<h2>{escape(_title(setting, rows))}</h2>", _html_table(setting_table(results, setting), 1)]
        parts += ["<details><summary>Recall per class, %</summary>", _html_table(_recall_table(rows), 1), "</details>"]
    return _PAGE.replace("BODY", "\n".join(parts))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Accuracy of few-shot land-cover mapping</title><style>
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 80em; padding: 0 1em; color: #222 }
div { overflow-x: auto } table { border-collapse: collapse; margin: .5em 0 1em; font-variant-numeric: tabular-nums }
th, td { padding: .2em .7em; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th { border-bottom: 2px solid #888 } .name { text-align: left } tr.ours { background: #eef6ea; font-weight: 600 }
</style></head><body>
BODY
</body></html>
"""


def _html_table(lines: Sequence[Sequence[str]], names: int) -> str:
    """A table whose first `names` columns are text."""

    def cells(line: Sequence[str], tag: str) -> str:
        kinds = [' class="name"' if number < names else "" for number in range(len(line))]
        return "".join(f"<{tag}{kind}>{escape(text)}</{tag}>" for kind, text in zip(kinds, line, strict=True))

    body = [
        f"<tr{' class=' + chr(34) + 'ours' + chr(34) if line[0] == _REFERENCE else ''}>{cells(line, 'td')}</tr>"
        for line in lines[1:]
    ]
    return f"<div><table><tr>{cells(lines[0], 'th')}</tr>{''.join(body)}</table></div>"


def _recall_table(rows: Sequence[Row]) -> list[list[str]]:
    """A heading of classes and the recalls of each method."""
    names = list(rows[0].cells[0]["classes"])
    return [["method", *names], *([row.method, *(_number(value, 1) for value in row.recalls())] for row in rows)]


def _title(setting: Setting, rows: Sequence[Row]) -> str:
    tested = np.mean([cell["tested"] for row in rows for cell in row.cells])
    return f"{setting.scene}, {setting.split} split, {setting.shots} shots per class ({tested:,.0f} pixels tested)"


def _run_lines(results: Results) -> list[str]:
    """Each kind of run once: when it began first, where, and with what."""
    lines: dict[str, str] = {}
    for run in results.runs:
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        text = (
            f"{run['command']}  (commit {run['commit']}; {run['processor']}, {run['cores']} cores, "
            f"{run['threads']} threads; device {run['device']}; {versions})"
        )
        lines.setdefault(text, run["started"])
    return [f"{started}  {text}" for text, started in lines.items()]


def _named(row: Row) -> list[str]:
    return [*map(str, row.setting), row.method]


def _mean_sd(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and sample standard deviation of the defined values; NaN for none, 0 deviation for one."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    return float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else 0.0


def _number(value: float, digits: int) -> str:
    return "" if np.isnan(value) else f"{value:.{digits}f}"


def _plus_minus(mean: float, deviation: float) -> str:
    return "-" if np.isnan(mean) else f"{mean:.1f} ± {deviation:.1f}"


def _signed(difference: NDArray[np.float64]) -> str:
    mean, deviation = _mean_sd(difference)
    return f"{mean:+.1f} ± {deviation:.1f}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first to the left."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if not number else text.rjust(width)
            for number, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _csv(lines: Iterable[Sequence[str]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
