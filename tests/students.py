"""Students with random networks, on views of random rasters."""

from __future__ import annotations

import numpy as np

from diffclip_geo.classes import ClassTable
from diffclip_geo.fast import Agreement, FastEngine, network_inputs, open_session
from diffclip_geo.kernel_heads import KernelHeads, fit_kernel_heads
from diffclip_geo.presets import load_preset
from diffclip_geo.scenes import Block, inside
from diffclip_geo.student import Refinement, Student
from diffclip_geo.views import REACH, SCALES, View, with_relatives

BANDS, CLASSES = 6, 3


def raster(height: int = 80, width: int = 72, layers: int = 1, seed: int = 0, gaps: float = 0.1) -> Block:
    """Smooth values with noise, glints that are clipped, and gaps; 0 there."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width]
    waves = [np.sin(row / (5 + k) + k) + np.cos(column / (4 + k)) for k in range(BANDS + layers)]
    values = 1000 + 200 * np.array(waves) + rng.normal(0, 30, (BANDS + layers, height, width))
    values[:, rng.random((height, width)) < 0.02] *= rng.uniform(0, 30)
    valid = rng.random((height, width)) >= gaps
    values = (values * valid).astype(np.float32)
    return Block(values[:BANDS], values[BANDS:], valid)


def views_of(block: Block, components: int = 4, *, plots: bool = False) -> tuple[View, ...]:
    """As a classifier of one image or of plots has them."""
    views = [View.fit([block], 0, components=components, brightness_free=one) for one in (True, False)]
    return with_relatives(views, 2 * [(20, 20)] if plots else [block.valid.shape])


def kernel_heads(views: tuple[View, ...], block: Block, seed: int = 0, shots: int = 12) -> KernelHeads:
    """All heads of the compact preset, on random shots."""
    rng = np.random.default_rng(seed)
    whole = cut(block, 0, 0, *block.valid.shape, REACH)
    seen = [view(whole, REACH) for view in views]
    chosen = rng.permutation(len(seen[0]))[:shots]
    label = np.arange(shots) % CLASSES
    mine = [one[chosen] for one in seen]
    scales = 1 + len(SCALES)
    heads, *_ = fit_kernel_heads(load_preset("compact").blend, mine, label, np.arange(shots), CLASSES, seen, scales)
    return heads


def layer(out: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    weight = 2 * rng.normal(size=(out, size)) / np.sqrt(size)
    return weight.astype(np.float32), 0.1 * rng.normal(size=out).astype(np.float32)


def random_student(
    block: Block, doubt: float | None = None, *, rest: float = 1.0, seed: int = 0, plots: bool = False
) -> Student:
    """Its kernel heads decide where the network is in doubt, if a doubt is given."""
    rng = np.random.default_rng(seed)
    views = views_of(block, plots=plots)
    features = sum(view.transform.channels for view in views if not view.relative) * (1 + len(SCALES))
    hidden = (layer(8, features, rng), layer(8, 8, rng))
    output, (weight, bias) = layer(CLASSES, 8, rng), layer(CLASSES, 8, rng)
    refinement = None
    if doubt is not None:
        refinement = Refinement(kernel_heads(views, block), 0.7, (rest * weight, rest * bias), doubt)
    return Student(views, BANDS, len(block.lidar), hidden, output, refinement)


def tiny_engine(student: Student, cell: int = 16) -> FastEngine:
    names = tuple(f"class {k}" for k in range(CLASSES))
    classes = ClassTable(names, ((0, 0, 0),) * CLASSES)
    return FastEngine.of(classes, Agreement(0.99, 100, 0.1), student.model().SerializeToString(), cell)


def run(model: bytes, block: Block) -> np.ndarray:
    """What a model makes of a whole block; its height is a multiple of `fast.ROWS`."""
    return open_session(model).run(None, network_inputs(block))[0]


def cut(block: Block, row: int, column: int, height: int, width: int, margin: int) -> Block:
    """A window of a scene and its margin; what lies beyond the scene is invalid."""
    around = Block(
        np.pad(block.hsi, ((0, 0), (margin, margin), (margin, margin))),
        np.pad(block.lidar, ((0, 0), (margin, margin), (margin, margin))),
        np.pad(block.valid, margin),
    )
    window = np.s_[..., row : row + height + 2 * margin, column : column + width + 2 * margin]
    return Block(around.hsi[window], around.lidar[window], around.valid[window])


def core(block: Block) -> np.ndarray:
    return inside(block.valid, REACH)
