import ast
import json
from pathlib import Path

import pytest
import torch
from tiny import random_image, tiny_preset

import diffclip_geo
from diffclip_geo import pretraining
from diffclip_geo.pretraining import Checkpoint, pretrain_windows
from diffclip_geo.tensorfiles import (
    file_hash,
    load_facts,
    load_tensors,
    optimiser_tensors,
    restore_optimiser,
    save_tensors,
)
from diffclip_geo.windows import WindowSource


def header_of(path: Path) -> dict:
    """The JSON header of a safetensors file, read by its published layout: 8 bytes of length, JSON, plain numbers."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    assert len(content) == 8 + length + max(ends)
    return header


def test_tensors_and_facts_come_back_as_they_were(tmp_path):
    path = tmp_path / "weights.safetensors"
    tensors = {"a": torch.randn(3, 4).T, "b": torch.tensor(5), "c": torch.zeros(0, 3), "d": torch.randn(4).bfloat16()}
    save_tensors(path, tensors, {"scale": 0.1, "names": ["Bäume", "x"]})
    back = load_tensors(path)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensor) and back[name].dtype == tensor.dtype for name, tensor in tensors.items())
    assert load_facts(path) == {"scale": 0.1, "names": ["Bäume", "x"]}
    assert set(header_of(path)) == {*tensors, "__metadata__"}
    save_tensors(path, {"a": torch.ones(1)})
    assert load_facts(path) == {}


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_tensors(path, {"a": torch.ones(2)})
    with pytest.raises(TypeError):
        save_tensors(path, {"a": torch.zeros(2)}, {"facts": object()})
    assert torch.equal(load_tensors(path)["a"], torch.ones(2))


def test_an_optimiser_goes_on_where_it_was(tmp_path):
    def steps(parameter, optimiser, count):
        for _ in range(count):
            optimiser.zero_grad()
            (parameter**3).sum().backward()
            optimiser.step()

    start = torch.randn(5)
    straight = start.clone().requires_grad_()
    steps(straight, torch.optim.Adam([straight], 0.1), 6)
    first = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([first], 0.1)
    steps(first, optimiser, 3)
    save_tensors(tmp_path / "state.safetensors", optimiser_tensors(optimiser) | {"model.x": first})
    state = load_tensors(tmp_path / "state.safetensors")
    second = state["model.x"].clone().requires_grad_()
    optimiser = torch.optim.Adam([second], 0.1)
    restore_optimiser(optimiser, state)
    steps(second, optimiser, 3)
    assert torch.equal(second, straight)


def test_training_writes_no_pickle(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("pickled")

    for name in ("dump", "dumps", "Pickler"):
        monkeypatch.setattr(f"pickle.{name}", refuse)
    monkeypatch.setattr(torch, "save", refuse)
    monkeypatch.setattr(pretraining, "CHECKPOINT_EVERY", 2)
    path = tmp_path / "checkpoint.safetensors"
    pretrain_windows(WindowSource([random_image()], 5), tiny_preset(), checkpoint=Checkpoint(path, {}))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert any(name.startswith("optimiser.") for name in header_of(path))


def test_nothing_in_the_package_writes_a_pickle_or_runs_one():
    used = set()
    for path in Path(diffclip_geo.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                used |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Call):
                used.add(ast.unparse(node.func))
    calls = {f"pickle.{name}" for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler")}
    assert not used & {"cloudpickle", "joblib", "dill", "shelve", "marshal", "torch.save", "torch.load", *calls}


def test_the_hash_is_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert file_hash(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
