import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from raster_files import write_raster
from students import BANDS, cut, random_student, raster, run, tiny_engine
from tiny import random_block

from diffclip_geo.fast import FastEngine, network_inputs
from diffclip_geo.scenes import Block, Scene, inside
from diffclip_geo.workspace import Workspace

CELL = 16


@pytest.fixture(scope="module")
def scene() -> Block:
    return raster(56, 44)


@pytest.fixture(scope="module")
def engine(scene) -> FastEngine:
    return tiny_engine(random_student(scene, 0.4), CELL)


def mapped(engine: FastEngine, scene: Block, side: int, margin: int) -> np.ndarray:
    """Probabilities of all pixels, tile by tile; NaN where invalid."""
    height, width = scene.valid.shape
    found = np.full((height, width, len(engine.classes)), np.nan, np.float32)
    for row in range(0, height, side):
        for column in range(0, width, side):
            block = cut(scene, row, column, min(side, height - row), min(side, width - column), margin)
            valid = inside(block.valid, margin)
            found[row : row + side, column : column + side][valid] = engine.probabilities(block, margin)
    return found


def test_neither_tile_nor_margin_changes_a_byte(engine, scene):
    expected = mapped(engine, scene, CELL, engine.margin)
    assert np.isnan(expected[..., 0]).sum() == (~scene.valid).sum()
    for side, margin in (
        (2 * CELL, engine.margin),
        (64, engine.margin),
        (CELL, engine.margin + 5),
        (64, engine.margin + 6),
    ):
        assert mapped(engine, scene, side, margin).tobytes() == expected.tobytes()


def test_cells_at_the_end_of_a_scene_are_as_large_as_what_is_left():
    scene = raster(53, 41)  # 5 rows and 9 columns more than whole cells
    student = random_student(scene, 0.4)
    engine = tiny_engine(student, CELL)
    expected = mapped(engine, scene, CELL, engine.margin)
    assert mapped(engine, scene, 64, engine.margin + 6).tobytes() == expected.tobytes()
    whole = mapped(tiny_engine(student, 64), scene, 64, engine.margin)
    same = (np.abs(expected - whole).max(-1) < 1e-4)[scene.valid]
    assert same.mean() > 0.99  # but for those at the edge of doubt


def test_workers_change_no_byte(engine, scene):
    blocks = [cut(scene, row, column, CELL, CELL, engine.margin) for row in (0, 16, 32) for column in (0, 16)]
    expected = [engine.probabilities(block, engine.margin).tobytes() for block in blocks]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert [
                one.tobytes() for one in pool.map(lambda block: engine.probabilities(block, engine.margin), blocks)
            ] == expected


def test_cells_give_what_the_whole_scene_gives(engine, scene):
    whole = run(engine.model, cut(scene, 0, 0, 56, 44, engine.margin))
    found = mapped(engine, scene, CELL, engine.margin)
    same = (np.abs(found - whole).max(-1) < 1e-4)[scene.valid]
    assert same.mean() > 0.99  # but for those at the edge of doubt


def test_a_block_without_valid_pixels_is_not_computed(engine):
    side = CELL + 2 * engine.margin
    empty = Block(
        np.zeros((BANDS, side, side), np.float32), np.zeros((1, side, side), np.float32), np.zeros((side,) * 2, bool)
    )
    assert engine.probabilities(empty, engine.margin).shape == (0, len(engine.classes))


def test_a_larger_tile_takes_more_memory(engine):
    assert engine.memory(144, 512) > engine.memory(144, 256) > engine.memory(10, 256) > 0
    assert engine.side % engine.cell == 0


PROGRAM = """
import hashlib, sys
sys.path.insert(0, {tests!r})
import numpy as np
from diffclip_geo.classes import ClassTable
from diffclip_geo.fast import Agreement, FastEngine
from diffclip_geo.scenes import Block
values = np.load({folder!r} + "/block.npz")
model = open({folder!r} + "/student.onnx", "rb").read()
engine = FastEngine.of(ClassTable(("a",) * 3, ((0, 0, 0),) * 3), Agreement(1, 1, 0), model, 16)
found = engine.probabilities(Block(values["hsi"], values["lidar"], values["valid"]), engine.margin)
assert "torch" not in sys.modules, "torch takes seconds to import"
print(hashlib.sha256(found.tobytes()).hexdigest())
"""


def test_threads_change_no_byte_and_torch_is_not_imported(engine, scene, tmp_path):
    block = cut(scene, 0, 0, 32, 32, engine.margin)
    np.savez(tmp_path / "block.npz", **block._asdict())
    (tmp_path / "student.onnx").write_bytes(engine.model)
    program = PROGRAM.format(tests=str(__file__).rpartition("/")[0], folder=str(tmp_path))
    results = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(results) == 1


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    place = Workspace(tmp_path)
    for path in (place.manifest, place.classifier_manifest, place.classifier):
        path.write_text("{}")
    return place


@pytest.fixture
def scenes(tmp_path) -> list[Scene]:
    return [Scene.open(write_raster(tmp_path / f"{name}.tif", raster(8, 8).hsi)) for name in "ab"]


def test_a_student_is_read_back(engine, workspace, scenes, scene):
    engine.save(workspace, {"seed": 3}, scenes)
    found = FastEngine.load(workspace, scenes[:1])
    assert found is not None
    assert (found.classes, found.agreement, found.cell) == (engine.classes, engine.agreement, engine.cell)
    block = cut(scene, 0, 0, 16, 16, engine.margin)
    assert found.probabilities(block, engine.margin).tobytes() == engine.probabilities(block, engine.margin).tobytes()
    assert json.loads((workspace.folder / "student.json").read_text())["seed"] == 3


def test_a_student_of_another_classifier_or_scene_is_not_used(engine, workspace, scenes):
    assert FastEngine.load(workspace, scenes) is None
    engine.save(workspace, {}, scenes[:1])
    assert FastEngine.load(workspace, scenes[:1]) is not None
    assert FastEngine.load(workspace, scenes) is None
    (workspace.folder / "student.onnx").write_bytes(engine.model[:-1])
    assert FastEngine.load(workspace, scenes[:1]) is None
    engine.save(workspace, {}, scenes)
    workspace.classifier.write_text("{ }")
    assert FastEngine.load(workspace, scenes) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"teacher": 1}'])
def test_a_damaged_record_counts_as_none(engine, workspace, scenes, content):
    engine.save(workspace, {}, scenes)
    (workspace.folder / "student.json").write_text(content)
    assert FastEngine.load(workspace, scenes) is None


def test_rows_below_a_block_are_invalid_whatever_the_thread_computed_before():
    for height in (8, 7, 5):
        block = random_block(height, 6, gaps=0)
        inputs = network_inputs(block)
        assert inputs.keys() == {"hsi", "lidar", "valid"}
        for name, expected in zip(("hsi", "lidar", "valid"), block, strict=True):
            assert inputs[name].shape[-2] == 8 and inputs[name].dtype == np.float32
            assert np.array_equal(inputs[name][..., :height, :], expected) and not inputs[name][..., height:, :].any()
