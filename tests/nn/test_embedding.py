import math

import pytest
import torch

from diffclip_geo.nn.embedding import grid_embedding, sincos_embedding


def test_sines_and_cosines_at_geometric_wavelengths():
    (row,) = sincos_embedding(torch.tensor([3]), 4).tolist()
    assert row == pytest.approx([math.sin(3), math.sin(3 / 100), math.cos(3), math.cos(3 / 100)], abs=1e-6)


def test_every_cell_and_every_timestep_has_its_own_embedding():
    for embedding in (grid_embedding(11, 16), sincos_embedding(torch.arange(1001), 16)):
        distance = torch.cdist(embedding, embedding) + torch.eye(len(embedding))
        assert distance.min() > 1e-3


def test_rows_are_in_the_first_half_and_columns_in_the_second():
    grid = grid_embedding(5, 16).view(5, 5, 16)
    assert torch.equal(grid[:, :1, :8].expand(5, 5, 8), grid[..., :8])
    assert torch.equal(grid[:1, :, 8:].expand(5, 5, 8), grid[..., 8:])


def test_cells_are_counted_from_the_centre_whatever_the_window():
    small, large = grid_embedding(5, 16).view(5, 5, 16), grid_embedding(11, 16).view(11, 11, 16)
    assert torch.equal(large[3:8, 3:8], small)
