from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from trained import Trained, train

from diffclip_geo.scenes import Scene
from diffclip_geo.workflow.distil import distil
from diffclip_geo.workspace import Workspace


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def taught(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a student."""
    folder = tmp_path_factory.mktemp("taught") / "work"
    shutil.copytree(trained.workspace, folder, copy_function=shutil.copy2)
    place = Workspace(folder)
    distil(place, [Scene.from_dict(one) for one in place.read(place.manifest, "pretrain")["scenes"]])
    return folder
