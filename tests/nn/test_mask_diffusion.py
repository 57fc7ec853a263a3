import pytest
import torch

from diffclip_geo.diffusion import LinearSchedule
from diffclip_geo.nn.encoder import Encoder, EncoderConfig
from diffclip_geo.nn.mask_diffusion import Corruption, MaskDiffusion, pick

SIDE, BATCH = 5, 4


@pytest.fixture
def model():
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig((3, 1), SIDE, width=16, depth=2, heads=2))
    built = MaskDiffusion(encoder, decoder_width=16, decoder_heads=2, schedule=LinearSchedule(50)).eval()
    for decoder in built.decoders:  # zero is the initial value of the mask token; a trained one must not hide anything
        torch.nn.init.normal_(decoder.mask_token)
    return built


@pytest.fixture
def windows():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(BATCH, SIDE**2, channels, generator=generator) for channels in (3, 1)]


def corrupt(model, windows, seed=2):
    return model.corrupt(windows, torch.Generator().manual_seed(seed))


def encoder_calls(model):
    """What enters and leaves the encoder, appended to the returned list as the model runs."""
    calls = []
    model.encoder.register_forward_hook(
        lambda _, args, kwargs, out: calls.append((args[0].clone(), args[1], kwargs, out.clone())), with_kwargs=True
    )
    return calls


@pytest.mark.parametrize("modality", [0, 1])
def test_masked_pixels_cannot_influence_the_encoder(model, windows, modality):
    corruption = corrupt(model, windows)[modality]
    pixels = windows[modality]
    masked = corruption.masked[..., None].expand(-1, -1, pixels.shape[-1])
    perturbed = pixels.scatter(1, masked, torch.full_like(pixels, 1e6))
    assert not torch.equal(perturbed, pixels)
    calls = encoder_calls(model)
    restored = [model.restore(p, modality, corruption) for p in (pixels, perturbed)]
    (_, _, _, clean), (_, _, _, other) = calls
    assert torch.equal(clean, other)
    assert torch.equal(*restored)


@pytest.mark.parametrize("modality", [0, 1])
def test_visible_pixels_do_influence_the_encoder(model, windows, modality):
    corruption = corrupt(model, windows)[modality]
    pixels = windows[modality]
    visible = corruption.visible[..., None].expand(-1, -1, pixels.shape[-1])
    perturbed = pixels.scatter(1, visible, torch.zeros_like(pixels))
    calls = encoder_calls(model)
    for p in (pixels, perturbed):
        model.restore(p, modality, corruption)
    assert (calls[0][3] - calls[1][3]).abs().max() > 1e-3


@pytest.mark.parametrize("modality", [0, 1])
def test_the_encoder_sees_the_visible_tokens_alone_and_those_are_noised(model, windows, modality):
    corruption = corrupt(model, windows)[modality]
    calls = encoder_calls(model)
    model.restore(windows[modality], modality, corruption)
    ((seen, which, kwargs, _),) = calls
    assert which == modality
    assert seen.shape[1] == SIDE**2 - round(0.7 * SIDE**2) == corruption.noise.shape[1]
    assert torch.equal(kwargs["visible"], corruption.visible) and torch.equal(kwargs["timestep"], corruption.timestep)
    kept = LinearSchedule(50).alphas_cumprod[corruption.timestep].float()
    for sample in range(BATCH):
        clean = windows[modality][sample, corruption.visible[sample]]
        expected = kept[sample].sqrt() * clean + (1 - kept[sample]).sqrt() * corruption.noise[sample]
        torch.testing.assert_close(seen[sample], expected)


def test_masks_are_drawn_for_each_modality_by_itself_and_noise_is_standard_normal(model):
    windows = [torch.zeros(200, SIDE**2, channels) for channels in (3, 1)]
    first, second = corrupt(model, windows)
    assert not torch.equal(first.visible, second.visible)
    assert not torch.equal(first.timestep, second.timestep)
    assert first.timestep.min() >= 1 and first.timestep.max() <= 50
    assert abs(first.noise.mean()) < 0.05 and first.noise.std() == pytest.approx(1, abs=0.05)


def test_corruption_depends_on_the_generator_alone(model, windows):
    for first, again in zip(corrupt(model, windows), corrupt(model, windows), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(corrupt(model, windows, seed=3)[0].noise, corrupt(model, windows)[0].noise)


def test_the_encoder_blocks_are_one_object_for_both_modalities(model, windows):
    used = {0: [], 1: []}
    running = None
    for block in model.encoder.blocks:
        block.register_forward_hook(lambda module, *_: used[running].append(id(module)))
    for running in (0, 1):
        model.restore(windows[running], running, corrupt(model, windows)[running])
    assert used[0] == used[1] == [id(block) for block in model.encoder.blocks]
    assert len(set(used[0])) == 2


def test_a_step_on_one_modality_moves_the_encoding_of_the_other(model, windows):
    corruption = corrupt(model, windows)
    before = model.encoder(windows[1], 1)
    model.restore(windows[0], 0, corruption[0]).square().mean().backward()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            if parameter.grad is not None:
                parameter.sub_(0.1 * parameter.grad)
    assert (model.encoder(windows[1], 1) - before).abs().max() > 1e-3


def test_the_decoders_are_two_and_share_nothing(model, windows):
    first, second = model.decoders
    assert first is not second
    assert not {p.data_ptr() for p in first.parameters()} & {p.data_ptr() for p in second.parameters()}
    corruption = corrupt(model, windows)
    before = model.restore(windows[1], 1, corruption[1])
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1)
    assert torch.equal(model.restore(windows[1], 1, corruption[1]), before)


def constant_output(model, values):
    """Let each decoder predict a constant for every token and channel."""
    for decoder, value in zip(model.decoders, values, strict=True):
        torch.nn.init.zeros_(decoder.leave.weight)
        torch.nn.init.constant_(decoder.leave.bias, value)


def test_loss_equals_the_value_computed_by_hand():
    encoder = Encoder(EncoderConfig((1, 2), window=2, width=8, depth=1, heads=2))
    model = MaskDiffusion(encoder, decoder_width=8, decoder_heads=2)
    constant_output(model, (1.0, 0.0))
    image = torch.tensor([[[1.0], [2.0], [3.0], [5.0]]])
    lidar = torch.tensor([[[0.0, 1.0], [2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]])
    t = torch.tensor([700])
    corruptions = [
        Corruption(torch.tensor([[0, 3]]), torch.tensor([[1, 2]]), t, torch.full((1, 2, 1), 9.0)),
        Corruption(torch.tensor([[1]]), torch.tensor([[0, 2, 3]]), t, torch.full((1, 1, 2), 9.0)),
    ]
    losses = model([image, lidar], corruptions)
    # Image, predicted 1: visible 1, 5 → (0 + 16)/2; masked 2, 3 → (1 + 4)/2. LiDAR, predicted 0: (4 + 0)/2;
    # (0+1+0+9+1+1)/6.
    assert losses.denoising.item() == pytest.approx(8 + 2)
    assert losses.restoration.item() == pytest.approx(2.5 + 2)
    assert losses.total.item() == pytest.approx(14.5)


def test_without_masked_tokens_the_loss_is_denoising_alone(model, windows):
    model.mask_ratio = 0.0
    constant_output(model, (0.0, 0.0))
    losses = model(windows, corrupt(model, windows))
    assert losses.restoration == 0
    assert losses.total.item() == pytest.approx(sum(w.square().mean().item() for w in windows), rel=1e-5)


def test_every_weight_but_unused_ones_is_trained(model, windows):
    model(windows, corrupt(model, windows)).total.backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_pick_takes_the_named_cells_of_each_sample():
    tokens = torch.arange(12.0).view(2, 3, 2)
    assert pick(tokens, torch.tensor([[2, 0], [1, 1]])).tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]
