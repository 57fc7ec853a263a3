import csv

import matplotlib.image
import numpy as np
import pytest
import torch

from diffclip_geo.plots import plot_losses, plot_restorations, write_columns
from diffclip_geo.pretraining import Restoration


def test_columns_are_written_as_csv(tmp_path):
    path = tmp_path / "losses.csv"
    write_columns(path, {"step": [1, 2], "loss, total": [0.5, 0.25]})
    assert list(csv.reader(path.open())) == [["step", "loss, total"], ["1", "0.5"], ["2", "0.25"]]
    with pytest.raises(ValueError, match="zip"):
        write_columns(path, {"step": [1], "loss": []})


@pytest.mark.parametrize("steps", [1, 15, 100])
def test_a_loss_curve_is_drawn_for_any_number_of_steps(tmp_path, steps):
    path = tmp_path / "losses.png"
    plot_losses(path, {"denoising": list(np.linspace(2, 1, steps)), "restoration": [1.0] * steps}, "Loss")
    picture = matplotlib.image.imread(path)
    assert picture.shape[0] > 300 and picture[..., :3].std() > 0.01


@pytest.mark.parametrize(("channels", "bands"), [(5, (0, 1, 2)), (1, (0,))])
def test_restored_windows_are_drawn_with_unseen_cells_apart(tmp_path, channels, bands):
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(9, 9, channels, generator=generator)
    noised = clean.clone()
    noised[:, :6] = torch.nan
    samples = [Restoration(clean, noised, clean, 70), Restoration(clean, clean, clean, 500)]
    plot_restorations(tmp_path / "restored.png", samples, bands, "Windows")
    picture = (matplotlib.image.imread(tmp_path / "restored.png")[..., :3] * 255).round()
    unseen = np.array([13, 13, 76]) if channels == 5 else np.zeros(3)
    share = (np.abs(picture - unseen) <= 1).all(-1).mean()
    assert 0.02 < share < 0.3  # two thirds of one of six windows, and text in the grey picture
