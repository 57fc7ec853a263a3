"""Tiny networks, images and scenes for tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from affine import Affine

from diffclip_geo.grid import Grid
from diffclip_geo.images import Image
from diffclip_geo.presets import Preset, load_preset
from diffclip_geo.scenes import Block


def tiny_preset(**changes: dict[str, object]) -> Preset:
    """The compact preset at a size that trains in a second; `changes` replace single settings, table by table."""
    tables = load_preset("compact").to_dict()
    small: dict[str, dict[str, object]] = {
        "input": {"components": 0},
        "encoder": {"window": 5, "width": 16, "depth": 2, "heads": 2},
        "decoder": {"width": 16, "depth": 1, "heads": 2},
        "pretraining": {"steps": 6, "batch": 8, "timesteps": 50},
        "fewshot": {
            "epochs": 1,
            "least_steps": 6,
            "batch": 8,
            "text_width": 16,
            "text_depth": 1,
            "text_heads": 2,
        },
    }
    for name in small | changes:
        tables[name] |= small.get(name, {}) | changes.get(name, {})
    return Preset.from_dict(tables)


def random_image(
    height: int = 12,
    width: int = 10,
    channels: tuple[int, ...] = (3, 1),
    margin: int = 2,
    seed: int = 0,
    gaps: float = 0.2,
) -> Image:
    """A normalised image whose margin lies outside the scene, with a share of `gaps` among the core pixels."""
    rng = np.random.default_rng(seed)
    valid = np.pad(rng.random((height, width)) >= gaps, margin)
    pixels = [rng.normal(size=(*valid.shape, count)).astype(np.float32) * valid[..., None] for count in channels]
    return Image(tuple(map(torch.from_numpy, pixels)), torch.from_numpy(valid), margin)


def core_block(image: Image) -> Block:
    """The values of an image without its margin, as a scene would hold them."""
    m = image.margin
    cut = slice(m, -m or None)
    values = [pixels[cut, cut].permute(2, 0, 1).numpy() for pixels in image.modalities]
    return Block(values[0], values[1] if len(values) > 1 else values[0][:0], image.valid[cut, cut].numpy())


@dataclass(frozen=True)
class ArrayScene:
    """A scene held in memory."""

    block: Block
    hsi_path: Path = Path("scene.tif")

    @property
    def grid(self) -> Grid:
        return Grid(*self.block.valid.shape, Affine(2, 0, 500_000, 0, -2, 5_800_000), None)

    @property
    def band_indices(self) -> range:
        return range(len(self.block.hsi))

    @property
    def lidar_names(self) -> list[str]:
        return [f"layer {number}" for number in range(len(self.block.lidar))]

    def read_into(self, row: int, column: int, hsi: np.ndarray, lidar: np.ndarray) -> np.ndarray:
        height, width = hsi.shape[1:]
        assert row >= 0 and column >= 0 and row + height <= self.grid.height and column + width <= self.grid.width
        window = np.s_[..., row : row + height, column : column + width]
        hsi[:], lidar[:] = self.block.hsi[window], self.block.lidar[window]
        return self.block.valid[window]


def random_block(height: int, width: int, bands: int = 3, layers: int = 1, seed: int = 0, gaps: float = 0.2) -> Block:
    """Random raster values with a share of `gaps`, 0 there."""
    rng = np.random.default_rng(seed)
    valid = rng.random((height, width)) >= gaps
    values = [rng.uniform(1, 1000, (count, height, width)).astype(np.float32) * valid for count in (bands, layers)]
    return Block(values[0], values[1], valid)
