"""The fast engine: a student network that was distilled from the exact engine on the scene itself, on ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .classes import ClassTable
from .jsonfiles import replacing
from .normalisation import Array
from .scenes import Block, Scene, inset, inside
from .scratch import scratch

if TYPE_CHECKING:
    from .workspace import Workspace

ROWS = 4  # of a block, whose spectra a student transforms at a time: they fit the cache
CELL = 192  # pixels; all cells are computed at this size, whatever the tile
LEAST_AGREEMENT = 0.95  # below it a map would be another one than that of the exact engine
_MARGIN = 30  # pixels, as far as the widest Gaussian of the views reaches
_FIXED = 50_000_000  # bytes that libraries set aside for each thread
_ERRORS_ONLY = 3


@dataclass(frozen=True)
class Agreement:
    """How a student compares with the exact engine on pixels that were held out of its training."""

    same: float  # share of pixels with the same class
    pixels: int  # that were held out
    in_doubt: float  # share of them that the kernel heads decided


@dataclass(frozen=True)
class FastEngine:
    """Class probabilities by a student network.

    How sums are rounded depends on the shape of what is added and on how many threads share it: every call computes one
    cell on one thread. Cells are of one size, but at the end of the scene, where they are as large as what is left; so
    a pixel's result depends neither on the tile nor on the workers.
    """

    classes: ClassTable
    agreement: Agreement
    model: bytes  # see `student`
    session: onnxruntime.InferenceSession
    cell: int = CELL

    @classmethod
    def of(cls, classes: ClassTable, agreement: Agreement, model: bytes, cell: int = CELL) -> FastEngine:
        """The engine of a student in ONNX form."""
        return cls(classes, agreement, model, open_session(model), cell)

    @property
    def margin(self) -> int:
        """Pixels of context around a block."""
        return _MARGIN

    @property
    def side(self) -> int:
        """That of a cell: larger tiles share more context, but leave workers idle at the end and take more memory."""
        return self.cell

    def memory(self, channels: int, side: int) -> int:
        """Bytes: the tile in some three copies, and one cell with what is computed of it."""
        read = 3 * 4 * (channels + 1) * (side + 2 * self.margin) ** 2
        return _FIXED + read + 4 * (2 * channels + 800) * (self.cell + 2 * self.margin) ** 2

    def probabilities(self, block: Block, margin: int) -> Array:
        """Of the valid core pixels in row-major order; float32 `[pixels, K]`.

        `block` was read with `margin`, at least the engine's own. Its core starts at a multiple of `cell` in row and
        column of the scene, and holds whole cells but where the scene ends.
        """
        block = inset(block, margin - self.margin)
        core = inside(block.valid, self.margin)
        found = np.empty((*core.shape, len(self.classes)), np.float32)
        for row in range(0, core.shape[0], self.cell):
            for column in range(0, core.shape[1], self.cell):
                part = found[row : row + self.cell, column : column + self.cell]
                if core[row : row + self.cell, column : column + self.cell].any():
                    part[:] = self._cell(block, row, column, *part.shape[:2])
        return found[core]

    def _cell(self, block: Block, row: int, column: int, height: int, width: int) -> Array:
        """Probabilities `[height, width, K]` of the cell whose context starts there."""
        around = 2 * self.margin
        window = np.s_[..., row : row + height + around, column : column + width + around]
        part = Block(block.hsi[window], block.lidar[window], block.valid[window])
        found: list[Array] = self.session.run(None, network_inputs(part))
        return found[0][:height]

    def save(self, workspace: Workspace, facts: Mapping[str, Any], scenes: Sequence[Scene]) -> None:
        """Write the student and the `facts` of its training, for the classifier that the workspace holds now.

        Raises WorkspaceError.
        """
        with replacing(workspace.student) as temporary:
            temporary.write_bytes(self.model)
        workspace.write(
            workspace.student_manifest,
            {
                **facts,
                "agreement": asdict(self.agreement),
                "classes": self.classes.to_dict(),
                "cell": self.cell,
                "student": hashlib.sha256(self.model).hexdigest(),
                "teacher": _teacher(workspace),
                "scenes": [_identity(scene) for scene in scenes],
            },
        )

    @classmethod
    def load(cls, workspace: Workspace, scenes: Iterable[Scene]) -> FastEngine | None:
        """The student of a workspace; None when there is none, or it was distilled from another classifier or without
        one of the `scenes`.
        """
        try:
            facts = json.loads(workspace.student_manifest.read_text(encoding="utf-8"))
            model = workspace.student.read_bytes()
            if facts["teacher"] != _teacher(workspace) or facts["student"] != hashlib.sha256(model).hexdigest():
                return None
            if any(_identity(scene) not in facts["scenes"] for scene in scenes):
                return None
            classes, agreement = ClassTable.from_dict(facts["classes"]), Agreement(**facts["agreement"])
            return cls.of(classes, agreement, model, facts["cell"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """A session that computes on the calling thread alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def network_inputs(block: Block) -> dict[str, Array]:
    """What a student takes: a block brought to a multiple of `ROWS` rows by invalid ones below. The thread uses the
    memory for its next block, too.
    """
    inputs: dict[str, NDArray] = {"hsi": block.hsi, "valid": block.valid}
    if len(block.lidar):
        inputs["lidar"] = block.lidar
    return {name: _whole_rows(f"{name} of a cell", values) for name, values in inputs.items()}


def _whole_rows(name: str, values: NDArray) -> Array:
    """`[…, h, w]` in one piece, with rows of 0 below to a multiple of `ROWS`."""
    *channels, height, width = values.shape
    missing = -height % ROWS
    if not missing and values.flags.c_contiguous and values.dtype == np.float32:
        return values
    whole: Array = scratch(name, (*channels, height + missing, width))
    whole[..., :height, :], whole[..., height:, :] = values, 0
    return whole


def _teacher(workspace: Workspace) -> str:
    """Hash of what the exact engine is made of: views and normalisation, classes, weights."""
    digest = hashlib.sha256()
    for path in (workspace.manifest, workspace.classifier_manifest, workspace.classifier):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _identity(scene: Scene) -> list[Any]:
    """Which rasters make a scene, and which of their bands."""
    facts = scene.to_dict()
    return [facts["hsi"], facts["lidar"], facts["band_indices"], list(scene.grid.shape)]
