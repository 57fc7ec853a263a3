"""The canvas: a fine raster of cover, height and slope on which roofs, crowns and fields are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .materials import SHRUB, TREE, WATER
from .streets import Frame

_ROOF_FLOOR = 2.2  # m: anything rigid above is a building that crowns do not overwrite


@dataclass
class Canvas:
    """Cells [rows, columns] of `cell` metres from the top left; x and y count metres from there, y southwards.

    `cover` holds class indices, `height` metres above ground, `slope_x`/`slope_y` the roof or crown slope, `owner` the
    number of the object drawn last: whatever shares an owner shares its tone.
    """

    frame: Frame
    cell: float
    s: NDArray[np.float32]
    t: NDArray[np.float32]
    cover: NDArray[np.uint8] = field(init=False)
    height: NDArray[np.float32] = field(init=False)
    slope_x: NDArray[np.float16] = field(init=False)
    slope_y: NDArray[np.float16] = field(init=False)
    owner: NDArray[np.int32] = field(init=False)
    owners: int = 1

    def __post_init__(self) -> None:
        shape = self.s.shape
        self.cover = np.zeros(shape, np.uint8)
        self.height = np.zeros(shape, np.float32)
        self.slope_x, self.slope_y = np.zeros(shape, np.float16), np.zeros(shape, np.float16)
        self.owner = np.zeros(shape, np.int32)

    @classmethod
    def blank(cls, frame: Frame, shape: tuple[int, int], cell: float) -> Canvas:
        """An empty canvas of `shape` cells."""
        x = (np.arange(shape[1], dtype=np.float32) + 0.5) * np.float32(cell)
        y = (np.arange(shape[0], dtype=np.float32) + 0.5) * np.float32(cell)
        s, t = frame.to_street(x[None, :], y[:, None])
        return cls(frame, cell, s.astype(np.float32), t.astype(np.float32))

    def new_owner(self) -> int:
        """The number of a new object."""
        self.owners += 1
        return self.owners - 1

    def window(self, s: float, t: float, radius: float) -> tuple[slice, slice]:
        """Cells within `radius` metres of a street position; empty when it is off the canvas."""
        x, y = self.frame.to_map(s, t)
        rows, columns = self.cover.shape
        reach = 1.25 * radius + 2 * self.cell  # the bends of the frame stretch distances a little
        return (
            slice(max(0, int((y - reach) / self.cell)), max(0, min(rows, int((y + reach) / self.cell) + 1))),
            slice(max(0, int((x - reach) / self.cell)), max(0, min(columns, int((x + reach) / self.cell) + 1))),
        )

    def put(self, where: tuple[slice, slice], mask: NDArray[np.bool_], cover: int, height: float, owner: int) -> None:
        """Flat ground or a flat roof on the masked cells of a window."""
        self.cover[where][mask] = cover
        self.height[where][mask] = height
        self.slope_x[where][mask] = 0
        self.slope_y[where][mask] = 0
        self.owner[where][mask] = owner

    def rectangle(
        self,
        s: float,
        t: float,
        length: float,
        width: float,
        cover: int,
        *,
        height: float = 0.0,
        owner: int | None = None,
    ) -> None:
        """A flat rectangle centred on (s, t), `length` along s and `width` along t, in metres."""
        where = self.window(s, t, np.hypot(length, width) / 2)
        mask = (np.abs(self.s[where] - s) < length / 2) & (np.abs(self.t[where] - t) < width / 2)
        self.put(where, mask, cover, height, self.new_owner() if owner is None else owner)

    def gable(
        self, s: float, t: float, length: float, width: float, cover: int, *, eave: float, pitch: float, along_s: bool
    ) -> None:
        """A gabled roof: two planes of slope `pitch` (rise over run) that meet in a ridge along s or along t."""
        where = self.window(s, t, np.hypot(length, width) / 2)
        ds, dt = self.s[where] - s, self.t[where] - t
        mask = (np.abs(ds) < length / 2) & (np.abs(dt) < width / 2)
        if not mask.any():
            return
        across, half = (dt, width / 2) if along_s else (ds, length / 2)
        self.put(where, mask, cover, 0, self.new_owner())
        self.height[where][mask] = (eave + pitch * (half - np.abs(across)))[mask]
        fall = -pitch * np.sign(across[mask])
        along_x, along_y = self.frame.axis(1 if along_s else 0)
        self.slope_x[where][mask] = fall * along_x
        self.slope_y[where][mask] = fall * along_y

    def crown(self, s: float, t: float, radius: float, top: float, *, owner: int | None = None) -> None:
        """A tree (below 2.5 m a shrub): half an ellipsoid, over the ground but not over roofs or water."""
        where = self.window(s, t, radius)
        ds, dt = self.s[where] - s, self.t[where] - t
        inside = 1 - (ds**2 + dt**2) / radius**2
        profile = np.sqrt(np.maximum(inside, 0))
        crown = top * (0.5 + 0.5 * profile)
        plant = (self.cover[where] == TREE) | (self.cover[where] == SHRUB)
        free = plant | ((self.height[where] < _ROOF_FLOOR) & (self.cover[where] != WATER))
        mask = (inside > 0) & (crown > self.height[where]) & free
        if not mask.any():
            return
        self.put(where, mask, TREE if top >= 2.5 else SHRUB, 0, self.new_owner() if owner is None else owner)
        self.height[where][mask] = crown[mask]
        # The rim of the ellipsoid is vertical; foliage is not, so its slope is bounded.
        fall = -0.5 * top / (radius**2 * np.maximum(profile, 0.5))
        (s_x, s_y), (t_x, t_y) = self.frame.axis(0), self.frame.axis(1)
        self.slope_x[where][mask] = np.clip(fall * (ds * s_x + dt * t_x), -1.5, 1.5)[mask]
        self.slope_y[where][mask] = np.clip(fall * (ds * s_y + dt * t_y), -1.5, 1.5)[mask]
