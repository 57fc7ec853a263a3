"""What computes class probabilities, behind one interface, and the choice between the kinds of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Protocol

import torch

from .classes import ClassTable
from .classifier import Classifier, load_classifier
from .exact import ExactEngine
from .normalisation import Array
from .scenes import Block
from .workspace import Workspace


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

    def probabilities(self, block: Block, margin: int) -> Array:
        """Of the valid core pixels in row-major order; float32 `[pixels, K]`.

        `block` was read with `margin`, at least the engine's own.
        """
        ...


@dataclass(frozen=True)
class Exact:
    """The classifier on the window of every pixel."""

    classifier: Classifier
    embedder: ExactEngine
    cell: int = 1

    @property
    def classes(self) -> ClassTable:
        """Those of the classifier."""
        return self.classifier.classes

    @property
    def margin(self) -> int:
        """That of the classifier, which has more to look at than the embedder."""
        return self.classifier.margin

    def probabilities(self, block: Block, margin: int) -> Array:
        """See `Engine`."""
        return self.classifier.probabilities(self.embedder, block, margin)


@dataclass(frozen=True)
class EngineSpec:
    """Which engine to load: what a process needs to make its own. `version` tells apart models in the same place."""

    workspace: Workspace
    device: torch.device
    version: int

    @classmethod
    def exact(cls, workspace: Workspace, device: torch.device) -> EngineSpec:
        """The exact engine of the classifier that the workspace holds now; loading it tells if there is none."""
        path = workspace.classifier
        return cls(workspace, device, path.stat().st_mtime_ns if path.is_file() else 0)

    def load(self) -> Engine:
        """The engine, shared by all threads of the process. Raises WorkspaceError."""
        with _loading:
            return _load(self)


_loading = Lock()


@lru_cache(maxsize=2)
def _load(spec: EngineSpec) -> Engine:
    classifier = load_classifier(spec.workspace)
    return Exact(classifier, classifier.engine(spec.device))
