import pytest
import torch

from diffclip_geo.devices import pick_device
from diffclip_geo.errors import OptionError


def test_auto_is_a_gpu_when_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize(
    ("name", "gpus", "fault"),
    [
        ("gpu", 0, "is not known"),
        ("meta", 0, "is not supported"),
        ("cuda", 0, "no CUDA GPU is usable here; use --device cpu"),
        ("cuda:1", 1, "does not exist among 1"),
    ],
)
def test_a_device_that_cannot_be_used_is_refused(monkeypatch, name, gpus, fault):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(OptionError, match=rf"device '{name}': .*{fault}"):
        pick_device(name)
