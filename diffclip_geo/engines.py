"""What computes class probabilities, behind one interface. Torch is imported by what needs it: that takes seconds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, cast

from .classes import ClassTable
from .errors import OptionError, WorkspaceError
from .normalisation import Array
from .scenes import Block
from .workspace import Workspace

if TYPE_CHECKING:
    from .classifier import Classifier
    from .exact import Embedder
    from .fast import FastEngine

ENGINES = ("auto", "exact", "fast")
RUNTIMES = ("torch", "onnx")
FIXED = 50_000_000  # bytes that libraries set aside for each thread


class Engine(Protocol):
    """Class probabilities of the pixels of a block.

    A pixel's result is the same whichever block it is read in, as long as the cores of blocks start at multiples of
    `cell` in row and column.
    """

    @property
    def classes(self) -> ClassTable:
        """The classes, in the order of the columns of `probabilities`."""
        ...

    @property
    def margin(self) -> int:
        """Pixels of context around a block."""
        ...

    @property
    def cell(self) -> int:
        """Pixels; 1 when blocks may start anywhere."""
        ...

    @property
    def side(self) -> int:
        """Side of the tiles that suit it best, in pixels."""
        ...

    def memory(self, channels: int, side: int) -> int:
        """Bytes that a tile of this side takes, at most, while its `channels` are read and computed with."""
        ...

    def probabilities(self, block: Block, margin: int) -> Array:
        """Of the valid core pixels in row-major order; float32 `[pixels, K]`.

        `block` was read with `margin`, at least the engine's own.
        """
        ...


@dataclass(frozen=True)
class EngineSpec:
    """Which engine to load: what a process needs to make its own. `written` tells apart models in the same place."""

    workspace: Workspace
    device: str  # as torch calls it
    name: str
    runtime: str
    written: tuple[int, ...]

    @classmethod
    def exact(cls, workspace: Workspace, device: str, runtime: str = "torch") -> EngineSpec:
        """The exact engine of the classifier that the workspace holds now; loading it tells if there is none."""
        place = Workspace(workspace.folder.resolve())  # other processes may be elsewhere
        return cls(place, device, "exact", runtime, _written(place))

    @classmethod
    def fast(cls, workspace: Workspace) -> EngineSpec:
        """The student that the workspace holds now, which computes on the CPU."""
        place = Workspace(workspace.folder.resolve())
        return cls(place, "cpu", "fast", "onnx", _written(place))

    def facts(self) -> dict[str, Any]:
        """What decides the results besides the classifier, for the record."""
        versions = {} if self.runtime == "torch" else {"onnxruntime": version("onnxruntime")}
        facts: dict[str, Any] = {
            "engine": self.name,
            "runtime": self.runtime,
            "device": self.device.partition(":")[0],
            **versions,
        }
        if self.name == "fast":
            fast = cast("FastEngine", self.load())
            facts |= {"agreement": fast.agreement.same, "student": hashlib.sha256(fast.model).hexdigest()}
        return facts

    def load(self) -> Engine:
        """The engine, shared by all threads of the process.

        Raises
        ------
        WorkspaceError
            There is no model.
        OptionError
            The runtime is not installed, or does not know the device.
        """
        with _loading:
            return _load(self)


_loading = Lock()


@lru_cache(maxsize=2)
def _load(spec: EngineSpec) -> Engine:
    if spec.name == "fast":
        from .fast import FastEngine

        fast = FastEngine.load(spec.workspace, [])
        if fast is None:
            raise WorkspaceError(spec.workspace.folder, "holds no student of its classifier", "use --engine exact")
        return fast
    from .classifier import load_classifier
    from .pixelwise import Exact

    classifier = load_classifier(spec.workspace)
    if spec.runtime == "onnx":
        return Exact(classifier, _open_onnx(spec, classifier), spec.device)
    return Exact(classifier, classifier.engine(spec.device), spec.device)


def _open_onnx(spec: EngineSpec, classifier: Classifier) -> Embedder:
    try:
        from .onnx_engine import open_onnx_engine
    except ImportError as error:
        fault = f"needs the package {error.name}, which is not installed"
        remedy = f"pip install {error.name}, or use --runtime torch"
        raise OptionError("--runtime onnx", fault, remedy) from error
    return open_onnx_engine(spec.workspace, classifier, spec.device)


def _written(place: Workspace) -> tuple[int, ...]:
    """When the model was written; 0 for files that are not there."""
    files: tuple[Path, ...] = (
        place.manifest,
        place.classifier_manifest,
        place.classifier,
        place.student_manifest,
    )
    return tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in files)
