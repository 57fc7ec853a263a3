"""`export`: describe a map or a model for catalogues, or write the model for other programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..atomic import FileSet, check_outputs
from ..categories import auxiliary_path
from ..classes import ClassTable
from ..errors import OptionError, RasterError
from ..grid import Grid
from ..legends import read_raster_legend
from ..maps import confidence_path, probabilities_path
from ..provenance import provenance_path
from ..qml import style_path
from ..quicklook import quicklook_path
from ..rasters import open_raster
from ..scenes import Scene
from ..stac import COG, asset, classes_of, model_properties, projection_of, stac_item, write_item
from ..workspace import Workspace

if TYPE_CHECKING:
    from ..fast import FastEngine

_GREY = (128, 128, 128)


def export(
    source: str | PathLike[str],
    out: str | PathLike[str] | None = None,
    *,
    format: str = "stac",
    accept_agreement: float | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Write `source`, a label map or a workspace folder, in another form, and return the path of the file.

    Parameters
    ----------
    format
        "stac" for a STAC Item. A map's Item lists its companions (confidence, probabilities, style, quicklook,
        provenance) when they are there; a model's has the fields of the machine-learning-model (MLM) extension.
        "onnx" for the image encoder of a workspace as an ONNX model, see `onnx_model`. "student" for the fast engine as
        an ONNX model, see `student`, and "deepness" for it as a model of the QGIS plugin of that name, see `deepness`;
        it is distilled first when the workspace has none.
    out
        By default ``map.stac.json`` beside the map; ``model.stac.json``, ``model.onnx``, ``fast.onnx`` or
        ``deepness.onnx`` in the workspace.
    accept_agreement
        The share of pixels with the exact engine's class that is enough for the fast one, instead of 0.95.
    say
        Called with notes.

    Raises
    ------
    RasterError, WorkspaceError
        There is no map, or no trained model.
    OptionError
        The fast engine agrees too little with the exact one, or cannot be written in that form.
    OutputError
        The file exists, or cannot be written.
    """
    source = Path(source)
    if format not in FORMATS:
        raise OptionError("--format", f"{format!r} is not known", f"use one of {', '.join(FORMATS)}")
    chosen = FORMATS[format]
    path = chosen.default(source) if out is None else Path(out)
    check_outputs([path], overwrite, [source] if source.is_file() else [])
    with FileSet(path, overwrite=overwrite) as files:
        chosen.write(source, path, files.stage(path), accept_agreement)
    if say and chosen.maps_alone and _uses_nearness(source):
        told = "The model does not know where labels lie, and some pixels near them get another class than in maps"
        say(f"{told} of classify; fewshot --no-nearness makes both alike.")
    return path


@dataclass(frozen=True)
class _Format:
    """`default` tells where the file of a source goes, `write` writes what will be `path` to a staged path."""

    default: Callable[[Path], Path]
    write: Callable[[Path, Path, Path, float | None], None]  # source, path, staged, agreement to accept
    maps_alone: bool = False  # whether it gives classes without this program


def _stac_path(source: Path) -> Path:
    return source / "model.stac.json" if source.is_dir() else source.with_name(f"{source.stem}.stac.json")


def _write_stac(source: Path, path: Path, staged: Path, _: float | None) -> None:
    write_item(staged, _model_item(source, path) if source.is_dir() else _map_item(source, path))


def _onnx_path(source: Path) -> Path:
    return _trained(source).onnx


def _write_onnx(source: Path, _: Path, staged: Path, __: float | None) -> None:
    from ..classifier import load_classifier
    from ..onnx_model import onnx_model
    from ..tensorfiles import file_hash

    place = _trained(source)
    classifier = load_classifier(place)
    staged.write_bytes(onnx_model(classifier, file_hash(place.classifier)).SerializeToString())


def _student_path(source: Path) -> Path:
    return _trained(source).folder / "fast.onnx"


def _write_student(source: Path, _: Path, staged: Path, accept: float | None) -> None:
    import onnx

    engine, _scene = _fast_engine(source, accept)
    model = onnx.load_model_from_string(engine.model)
    facts = {
        "version": __version__,
        "classes": json.dumps(engine.classes.names),
        "agreement": json.dumps(asdict(engine.agreement)),
        "margin": str(engine.margin),
    }
    onnx.helper.set_model_props(model, facts)
    staged.write_bytes(model.SerializeToString())


def _deepness_path(source: Path) -> Path:
    return _trained(source).folder / "deepness.onnx"


def _write_deepness(source: Path, _: Path, staged: Path, accept: float | None) -> None:
    from ..deepness import check_scene, deepness_model

    check_scene(_first_scene(source))  # before a student is distilled in vain
    engine, scene = _fast_engine(source, accept)
    staged.write_bytes(deepness_model(engine.model, scene, engine.classes.names).SerializeToString())


def _first_scene(source: Path) -> Scene:
    place = _trained(source)
    return Scene.from_dict(place.read(place.manifest, "pretrain")["scenes"][0])


def _fast_engine(source: Path, accept: float | None) -> tuple[FastEngine, Scene]:
    """The student of a workspace, distilled when there is none, and the first scene that it knows."""
    from .choose import check_agreement, find_student

    place = _trained(source)
    scenes = [Scene.from_dict(one) for one in place.read(place.manifest, "pretrain")["scenes"]]
    engine = find_student(place, scenes)
    if engine is None:
        from .distil import distil

        engine = distil(place, scenes)
    check_agreement(engine, accept)
    return engine, scenes[0]


def _uses_nearness(source: Path) -> bool:
    place = _trained(source)
    return place.read(place.classifier_manifest, "fewshot")["nearness"] is not None


def _trained(source: Path) -> Workspace:
    """The workspace `source`, which holds a trained model."""
    if source.is_file():
        raise OptionError(source, "is a file, and the model of a workspace is wanted", "name the folder of a workspace")
    place = Workspace(source)
    place.read(place.manifest, "pretrain")
    place.read(place.classifier_manifest, "fewshot")
    return place


FORMATS = {
    "stac": _Format(_stac_path, _write_stac),
    "onnx": _Format(_onnx_path, _write_onnx),
    "student": _Format(_student_path, _write_student, maps_alone=True),
    "deepness": _Format(_deepness_path, _write_deepness, maps_alone=True),
}


def _map_item(source: Path, path: Path) -> dict[str, Any]:
    with open_raster(source) as dataset:
        grid, legend, envi = Grid.of(dataset), read_raster_legend(dataset), dataset.driver == "ENVI"
    if not legend.names:
        raise RasterError(source, "names no classes", "give a label map that classify wrote")
    values = sorted(int(value) for value in legend.names)
    classes = ClassTable(
        tuple(legend.names[str(value)] for value in values),
        tuple(legend.colors.get(str(value), _GREY) for value in values),
    )
    facts = json.loads(provenance_path(source).read_text(encoding="utf-8")) if provenance_path(source).is_file() else {}
    properties = {"title": f"Land-cover map {source.name}", **projection_of(grid)}
    extensions = ["classification", "file", "projection"]
    item = stac_item(source.stem, [grid], extensions, facts.get("created"), properties)
    raster = "application/octet-stream" if envi else COG
    bands = [{"name": "class", "data_type": "uint8" if len(values) <= 255 else "uint16", "nodata": 0}]
    item["assets"]["map"] = asset(
        source, path, raster, "Classes", ["data"], bands=bands, **{"classification:classes": classes_of(classes)}
    )
    others: list[tuple[str, Path, str, str, list[str]]] = [
        ("confidence", confidence_path(source), raster, "Confidence", ["data", "confidence"]),
        ("probabilities", probabilities_path(source), raster, "Probability of each class", ["data"]),
        ("header", source.with_suffix(".hdr"), "text/plain", "ENVI header", ["metadata"]),
        ("auxiliary", auxiliary_path(source), "application/xml", "GDAL categories and attribute table", ["metadata"]),
        ("style", style_path(source), "application/xml", "QGIS style", ["metadata", "style"]),
        ("quicklook", quicklook_path(source), "image/png", "Quicklook", ["overview"]),
        ("provenance", provenance_path(source), "application/json", "Inputs, options and versions", ["metadata"]),
    ]
    for key, file, media_type, title, roles in others:
        if file.is_file():
            item["assets"][key] = asset(file, path, media_type, title, roles)
    return item


def _student_of(place: Workspace, scenes: Sequence[Scene]) -> FastEngine | None:
    """The student of the workspace, if it has one and ONNX Runtime to read it with."""
    from .choose import find_student

    try:
        return find_student(place, scenes)
    except OptionError:
        return None


def _model_item(source: Path, path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    place = Workspace(source)
    facts = place.read(place.manifest, "pretrain")
    trained = place.read(place.classifier_manifest, "fewshot")
    with safe_open(str(place.classifier), "np") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
    parameters = 0
    for shape in shapes:
        size = 1
        for length in shape:
            size *= length
        parameters += size
    scenes = [Scene.from_dict(one) for one in facts["scenes"]]
    grids = [scene.grid for scene in scenes]
    item = stac_item(
        f"{source.resolve().name}-model",
        grids,
        ["classification", "file", "mlm"],
        trained["created"],
        model_properties(facts, trained, parameters, version("torch")),
    )
    # STAC allows bands for the Item, where MLM asks for them, only when an asset has bands, too.
    weights = {"mlm:artifact_type": "safetensors.torch.save_file", "bands": item["properties"]["bands"]}
    files: list[tuple[str, Path, str, str, list[str], dict[str, Any]]] = [
        ("model", place.classifier, "application/octet-stream", "Weights", ["mlm:model", "mlm:weights"], weights),
        ("workspace", place.manifest, "application/json", "Normalisation and preset", ["metadata"], {}),
        ("classifier", place.classifier_manifest, "application/json", "Classes and texts", ["metadata"], {}),
    ]
    student = _student_of(place, scenes)
    if student is not None:
        title = f"Fast engine, with the class of the exact one on {student.agreement.same:.1%} of held-out pixels"
        files.append(("student", place.student, "application/octet-stream", title, ["data"], {}))
    for key, file, media_type, title, roles, more in files:
        item["assets"][key] = asset(file, path, media_type, title, roles, **more)
    return item
