"""The public Houston 2013, Trento and MUUFL scenes in the `.mat` layouts in which they go round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from ..errors import RasterError
from .cases import Case

HOUSTON_CLASSES = (
    "healthy grass", "stressed grass", "synthetic grass", "tree", "soil", "water", "residential", "commercial", "road",
    "highway", "railway", "parking lot 1", "parking lot 2", "tennis court", "running track",
)  # fmt: skip
TRENTO_CLASSES = ("apple trees", "buildings", "ground", "woods", "vineyard", "roads")
MUUFL_CLASSES = (
    "trees", "mostly grass", "mixed ground surface", "dirt and sand", "road", "water", "buildings shadow", "buildings",
    "sidewalk", "yellow curb", "cloth panels",
)  # fmt: skip
_MUUFL_FILE = "muufl_gulfport_campus_1_hsi_220_label.mat"


class Variable(NamedTuple):
    """A variable of a file; names are compared without case."""

    file: str
    name: str


@dataclass(frozen=True)
class Layout:
    """Where image, LiDAR and labels are. Several label maps (training and test) are joined."""

    image: Variable
    lidar: Variable
    labels: tuple[Variable, ...]

    @property
    def files(self) -> list[str]:
        """Files it needs."""
        return list(dict.fromkeys(one.file for one in (self.image, self.lidar, *self.labels)))


_COMMON = Layout(
    Variable("HSI.mat", "HSI"),
    Variable("LiDAR.mat", "LiDAR"),
    (Variable("TRLabel.mat", "TRLabel"), Variable("TSLabel.mat", "TSLabel")),
)
LAYOUTS: Mapping[str, tuple[Layout, ...]] = {
    "houston2013": (
        _COMMON,
        Layout(
            Variable("houston_hsi.mat", "houston_hsi"),
            Variable("houston_lidar.mat", "houston_lidar"),
            (Variable("houston_gt.mat", "houston_gt_tr"), Variable("houston_gt.mat", "houston_gt_te")),
        ),
        Layout(
            Variable("houston_hsi.mat", "houston_hsi"),
            Variable("houston_lidar.mat", "houston_lidar"),
            (Variable("houston_gt.mat", "houston_gt"),),
        ),
    ),
    "trento": (
        _COMMON,
        Layout(
            Variable("Italy_hsi.mat", "data"),
            Variable("Italy_lidar.mat", "data"),
            (Variable("allgrd.mat", "mask_test"),),
        ),
        Layout(
            Variable("HSI_Trento.mat", "hsi_trento"),
            Variable("Lidar1_Trento.mat", "lidar1_trento"),
            (Variable("GT_Trento.mat", "gt_trento"),),
        ),
    ),
    "muufl": (_COMMON,),
}
CLASSES = {"houston2013": HOUSTON_CLASSES, "trento": TRENTO_CLASSES, "muufl": MUUFL_CLASSES}


def read_mat_scene(name: str, folder: Path) -> Case:
    """One of the scenes from a folder in any of its layouts. Raises RasterError.

    Labelled pixels that touch and share a class are one spatial unit.
    """
    if name == "muufl" and (folder / _MUUFL_FILE).is_file():
        return _muufl(folder / _MUUFL_FILE)
    found: list[str] = []
    for layout in LAYOUTS[name]:
        if not all((folder / file).is_file() for file in layout.files):
            found.append(" + ".join(layout.files))
            continue
        variables = {file: _read(folder / file) for file in layout.files}
        if all(_has(variables[one.file], one) for one in layout.labels):
            labels = [_take(folder, variables, one).squeeze() for one in layout.labels]
            joined = np.maximum.reduce([label.astype(np.int64) for label in labels])
            image, lidar = _take(folder, variables, layout.image), _take(folder, variables, layout.lidar)
            return _case(name, folder, image, lidar, joined)
        found.append(", ".join(f"{one.name} in {one.file}" for one in layout.labels))
    if name == "muufl":
        found.append(_MUUFL_FILE)
    raise RasterError(folder, f"does not hold the {name} scene", f"put there one of: {'; '.join(dict.fromkeys(found))}")


def _muufl(path: Path) -> Case:
    """The file of the publisher: a structure `hsi` with the image, both LiDAR flights and the scene labels."""
    content = _read(path)
    try:
        scene = content["hsi"]
        heights = [np.atleast_3d(flight.z) for flight in np.atleast_1d(scene.Lidar)]
        labels, image = scene.sceneLabels.labels, scene.Data
    except (KeyError, AttributeError) as error:
        raise RasterError(path, f"lacks {error}", "download the file again from its publisher") from error
    return _case("muufl", path, image, np.concatenate(heights, -1), np.maximum(labels, 0).astype(np.int64))


def _case(name: str, place: Path, image: NDArray, lidar: NDArray, label: NDArray[np.int64]) -> Case:
    lidar = np.atleast_3d(lidar)
    if image.ndim != 3 or not image.shape[:2] == lidar.shape[:2] == label.shape:
        raise RasterError(
            place,
            f"holds an image {image.shape}, LiDAR {lidar.shape} and labels {label.shape}",
            "give arrays of rows × columns (× bands) on one grid",
        )
    names = CLASSES[name]
    if label.max(initial=0) > len(names):
        raise RasterError(
            place, f"has label {label.max()}, {name} has {len(names)} classes", "check the label variable"
        )
    return Case.from_arrays(name, [(image, lidar)], [label], names)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = loadmat(path, squeeze_me=True, struct_as_record=False)
    except NotImplementedError as error:  # MATLAB 7.3 is HDF5
        raise RasterError(path, "is a MATLAB 7.3 file", "save it again with -v7") from error
    except (OSError, ValueError, MatReadError) as error:
        raise RasterError(path, f"cannot be read ({error})", "check the file") from error
    return content


def _has(content: Mapping[str, Any], wanted: Variable) -> bool:
    return wanted.name.casefold() in {key.casefold() for key in content}


def _take(folder: Path, contents: Mapping[str, Mapping[str, Any]], wanted: Variable) -> NDArray:
    """A variable by name, or the only one of its file."""
    content = {key.casefold(): value for key, value in contents[wanted.file].items() if not key.startswith("__")}
    if wanted.name.casefold() in content:
        return np.asarray(content[wanted.name.casefold()])
    if len(content) == 1:
        return np.asarray(next(iter(content.values())))
    raise RasterError(folder / wanted.file, f"has no variable {wanted.name}", f"it has {', '.join(content)}")
