"""Where to compute."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import OptionError

if TYPE_CHECKING:
    import torch

_DRIVERS = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")  # of Linux, and of Linux inside Windows


def pick_device(name: str) -> torch.device:
    """The device called `name`; "auto" is a CUDA GPU when there is one, else the CPU. Raises OptionError."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"device {name!r}", "is not known", "use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"device {name!r}", "is asked for but no CUDA GPU is usable here", "use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(f"device {name!r}", f"does not exist among {torch.cuda.device_count()}", "use cuda:0")
    if device.type not in ("cpu", "cuda"):
        raise OptionError(f"device {name!r}", "is not supported", "use auto, cpu, cuda or cuda:N")
    return device


def device_name(name: str) -> str:
    """The name of `pick_device`; torch, which takes seconds to import, is not asked where the answer is plain."""
    if name == "cpu" or (
        name == "auto" and sys.platform == "linux" and not any(Path(one).exists() for one in _DRIVERS)
    ):
        return "cpu"
    return str(pick_device(name))
