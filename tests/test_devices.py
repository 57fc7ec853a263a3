import pytest
import torch

from diffclip_geo import devices
from diffclip_geo.devices import device_name, pick_device
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


def test_torch_is_not_asked_where_there_is_no_driver(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(devices, "pick_device", lambda name: asked.append(name) or "cuda:0")
    monkeypatch.setattr(devices.sys, "platform", "linux")
    monkeypatch.setattr(devices, "_DRIVERS", (str(tmp_path / "driver"),))
    assert device_name("auto") == device_name("cpu") == "cpu" and not asked
    assert device_name("cuda") == "cuda:0"
    (tmp_path / "driver").touch()
    assert device_name("auto") == "cuda:0"
    monkeypatch.setattr(devices.sys, "platform", "win32")
    (tmp_path / "driver").unlink()
    assert device_name("auto") == "cuda:0" and asked == ["cuda", "auto", "auto"]
