import torch

from diffclip_geo.nn.decoder import Decoder


def decoder(depth=1):
    torch.manual_seed(0)
    return Decoder(channels=3, window=3, encoder_width=8, width=16, depth=depth, heads=2).eval()


def test_the_mask_token_starts_at_zero_and_is_learned():
    built = decoder()
    assert not built.mask_token.any()
    built(torch.randn(1, 3, 8), torch.tensor([[0, 4]])).square().mean().backward()
    assert built.mask_token.grad.any()


def test_every_token_of_the_window_is_predicted():
    assert decoder()(torch.randn(5, 1 + 4, 8), torch.tensor([[0, 2, 4, 8]]).expand(5, -1)).shape == (5, 9, 3)


def test_visible_features_are_put_on_their_cells():
    built = decoder(depth=0)  # without blocks each token sees itself alone
    features, visible = torch.randn(1, 1 + 2, 8), torch.tensor([[1, 7]])
    other = features.clone()
    other[:, 2] += torch.randn(8)
    changed = (built(features, visible) - built(other, visible)).abs().sum(-1)[0] > 1e-6
    assert changed.nonzero().flatten().tolist() == [7]


def test_masked_tokens_are_told_apart_by_their_position():
    restored = decoder(depth=0)(torch.zeros(1, 2, 8), torch.tensor([[4]]))[0]
    hidden = restored[[0, 1, 2, 3, 5, 6, 7, 8]]
    assert torch.cdist(hidden, hidden)[~torch.eye(8, dtype=torch.bool)].min() > 1e-4
