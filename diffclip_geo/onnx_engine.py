"""The exact engine on ONNX Runtime."""

from __future__ import annotations

from contextlib import suppress
from math import isqrt
from pathlib import Path
from uuid import uuid4

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from torch import Tensor

from .classifier import Classifier
from .errors import OptionError
from .exact import equal_batches
from .images import Image
from .onnx_model import MODALITIES, onnx_model
from .tensorfiles import file_hash
from .windows import PixelWindows
from .workspace import Workspace

BATCHES = {"cpu": 4, "cuda": 1024}  # windows per call; a CPU holds that many in its caches
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ERRORS_ONLY = 3


class OnnxEngine:
    """`ExactEngine` by ONNX Runtime, from an exported model: a file, or its bytes.

    `threads` share the work of one call; one is enough where tiles are computed side by side. Every call has the same
    number of windows, as in `ExactEngine`. Raises OptionError when ONNX Runtime cannot use the device.
    """

    def __init__(
        self, model: Path | bytes, device: torch.device | str = "cpu", *, threads: int = 1, batch: int | None = None
    ) -> None:
        device = torch.device(device)
        self._session = _open(model, device, threads)
        self.side = isqrt(self._session.get_inputs()[0].shape[1])
        self.batch = batch or BATCHES[device.type]

    @property
    def margin(self) -> int:
        """Pixels of context that the engine needs around a tile."""
        return self.side // 2

    def embed(self, image: Image) -> Tensor:
        """What `ExactEngine.embed` gives; float32 `[pixels, features]`."""
        windows = PixelWindows(image, self.side)
        count = len(windows.centre)
        if not count:
            return torch.zeros(0, sum(output.shape[1] for output in self._session.get_outputs()))
        flat = dict(zip(MODALITIES, (pixels.flatten(0, 1) for pixels in image.modalities), strict=False))
        embedded = []
        for centre in equal_batches(windows.centre, self.batch):
            cells = windows.cells(centre)
            outputs = self._session.run(None, {name: pixels[cells].numpy() for name, pixels in flat.items()})
            embedded.append(np.concatenate(outputs, 1))
        return torch.from_numpy(np.concatenate(embedded)[:count])


def open_onnx_engine(workspace: Workspace, classifier: Classifier, device: torch.device | str = "cpu") -> OnnxEngine:
    """The engine of a workspace's classifier, from its model.onnx, which is written first if it is missing or was made
    from another classifier.

    Raises OptionError as `OnnxEngine`.
    """
    source = file_hash(workspace.classifier)
    if _source_of(workspace.onnx) == source:
        return OnnxEngine(workspace.onnx, device)
    model = onnx_model(classifier, source).SerializeToString()
    engine = OnnxEngine(model, device)
    with suppress(OSError):  # a workspace that cannot be written serves as well
        _write(workspace.onnx, model)
    return engine


def _open(model: Path | bytes, device: torch.device, threads: int) -> onnxruntime.InferenceSession:
    provider = _PROVIDERS[device.type]
    if provider in onnxruntime.get_available_providers():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = _ERRORS_ONLY
        choice = {"device_id": device.index or 0} if device.type == "cuda" else {}
        session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=[(provider, choice)]
        )
        # A provider that does not load, for want of a driver or a library, is left out: all would run on the CPU.
        if provider in session.get_providers():
            return session
    raise OptionError(
        f"device '{device}'",
        f"is asked for but {provider} does not work in this ONNX Runtime",
        "install onnxruntime-gpu in place of onnxruntime, or use --device cpu",
    )


def _source_of(path: Path) -> str | None:
    """The hash of the classifier that a model was made from; None if there is no readable model."""
    try:
        model = onnx.load(path)
    except (OSError, DecodeError):
        return None
    return next((entry.value for entry in model.metadata_props if entry.key == "classifier"), None)


def _write(path: Path, content: bytes) -> None:
    """Write a file whole, also when other processes do the same."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
