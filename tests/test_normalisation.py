import numpy as np
import pytest

from diffclip_geo.normalisation import ChannelTransform, noise_whitening, robust_standardisation, unit_norm


def test_robust_standardisation_is_median_and_interquartile_range():
    rng = np.random.default_rng(0)
    pixels = (rng.normal(size=(5000, 3)) * (1, 50, 0.01) + (0, 1000, -3)).astype(np.float32)
    pixels[:200] += (50, 2500, 0.5)  # glints
    transform = robust_standardisation(pixels)
    low, high = np.percentile(pixels, (25, 75), axis=0)
    assert transform.centre == pytest.approx(np.median(pixels, 0), rel=1e-6)
    assert transform.scale == pytest.approx((high - low) / 1.349, rel=1e-6)
    calm = transform(pixels)[200:]
    assert calm.std(0) == pytest.approx([1, 1, 1], abs=0.1)
    assert np.abs(transform(pixels)).max() == 10  # clipped


def test_a_channel_that_is_mostly_one_value_falls_back_to_its_bulk_and_then_to_its_deviation():
    pixels = np.zeros((1000, 3), np.float32)
    pixels[:100, 0] = 5  # a tenth of the ground has height
    pixels[:5, 1] = 5  # less than a hundredth
    transform = robust_standardisation(pixels)
    assert transform.scale == pytest.approx([5 / 4.652, pixels[:, 1].std(), 1], rel=1e-4)
    assert np.isfinite(transform(pixels)).all()


def test_a_few_huge_values_do_not_crush_a_channel():
    pixels = np.random.default_rng(0).normal(size=(1000, 1)).astype(np.float32)
    pixels[:8] = 1e30
    assert robust_standardisation(pixels).scale == pytest.approx([1], abs=0.1)


def test_channels_are_transformed_pixel_by_pixel_in_any_arrangement():
    rng = np.random.default_rng(0)
    transform = noise_whitening([rng.uniform(1, 2, (9, 9, 10)).astype(np.float32)], [np.ones((9, 9), bool)], 4)
    pixels = rng.uniform(1, 2, (6, 5, 10)).astype(np.float32)
    assert transform.channels == 4 and transform(pixels).dtype == np.float32
    assert transform(pixels).reshape(30, 4) == pytest.approx(transform(pixels.reshape(30, 10)), abs=1e-4)


def test_unit_norm_leaves_zero_vectors_alone():
    found = unit_norm(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert (found**2).mean(-1) == pytest.approx([1, 0])


def fields(height=60, width=60, channels=8, seed=0):
    """Homogeneous fields, each with its amount of one signal, under noise that is loudest in another direction."""
    rng = np.random.default_rng(seed)
    signal, loud = np.linalg.qr(rng.normal(size=(channels, 2)))[0].T
    amount = np.kron(rng.normal(size=(height // 10, width // 10)), np.ones((10, 10)))
    noise = rng.normal(size=(height, width, channels)) * 0.1 + rng.normal(size=(height, width, 1)) * 3 * loud
    image = (20 + amount[..., None] * signal + noise).astype(np.float32)
    return image, amount


def test_the_leading_component_is_the_signal_not_the_loudest_noise():
    image, amount = fields()
    valid = np.ones(amount.shape, bool)
    loudest = np.linalg.eigh(np.cov(image.reshape(-1, 8).T))[1][:, -1]
    plain = np.corrcoef((image @ loudest).ravel(), amount.ravel())[0, 1]
    assert abs(plain) < 0.5  # a principal component is noise here
    leading = noise_whitening([image], [valid], 8)(image)[..., 0]
    assert abs(np.corrcoef(leading.ravel(), amount.ravel())[0, 1]) > 0.95


def test_components_are_ordered_by_spread_and_have_unit_variance_in_all():
    image, amount = fields()
    found = noise_whitening([image], [np.ones(amount.shape, bool)], 5)(image).reshape(-1, 5)
    assert (np.diff(found.var(0)) <= 1e-5).all()
    assert found.var(0).mean() == pytest.approx(1, rel=0.01)
    assert np.abs(np.corrcoef(found.T) - np.eye(5)).max() < 0.01


def test_noise_is_much_whiter_in_the_components():
    image, amount = fields()
    whitened = noise_whitening([image], [np.ones(amount.shape, bool)], 8)(image)
    contrast = []
    for one in (image, whitened):
        inside = (one[1:10, :10] - one[:9, :10]).reshape(-1, 8)  # differences within one field
        value = np.linalg.eigvalsh(np.cov(inside.T))
        contrast.append(value.max() / value.min())
    assert contrast[0] > 500 and contrast[1] < contrast[0] / 10


def test_components_do_not_change_with_the_brightness_of_a_pixel():
    rng = np.random.default_rng(0)
    image = rng.uniform(1, 2, (20, 20, 9)).astype(np.float32)
    valid = np.ones((20, 20), bool)
    transform = noise_whitening([image], [valid], 4, brightness_free=9)
    shade = rng.uniform(0.1, 10, (20, 20, 1)).astype(np.float32)
    assert transform(image * shade) == pytest.approx(transform(image), abs=1e-3)
    assert np.abs(transform(image)).max() > 1
    raw = noise_whitening([image], [valid], 4)
    assert np.abs(raw(image * shade) - raw(image)).max() > 1


def test_channels_behind_the_spectrum_keep_their_level():
    rng = np.random.default_rng(0)
    image = rng.uniform(1, 2, (20, 20, 10)).astype(np.float32)
    transform = noise_whitening([image], [np.ones((20, 20), bool)], 10, brightness_free=9)
    brighter, higher = image.copy(), image.copy()
    brighter[..., :9] *= 2
    higher[..., 9] *= 2
    assert transform(brighter) == pytest.approx(transform(image), abs=1e-3)
    assert np.abs(transform(higher) - transform(image)).max() > 0.5


def test_invalid_pixels_and_steps_across_them_are_not_learned_from():
    image, amount = fields()
    valid = np.random.default_rng(1).random(amount.shape) > 0.2
    poisoned = np.where(valid[..., None], image, 1e6).astype(np.float32)
    pixels = image.reshape(-1, 8)
    clean = noise_whitening([np.where(valid[..., None], image, 0)], [valid], 3)
    assert noise_whitening([poisoned], [valid], 3)(pixels) == pytest.approx(clean(pixels), abs=1e-4)


def test_the_sign_of_a_component_does_not_depend_on_the_order_of_the_images():
    image, _ = fields()
    halves, valid = [image[:30], image[30:]], [np.ones((30, 60), bool)] * 2
    first, second = noise_whitening(halves, valid, 3), noise_whitening(halves[::-1], valid, 3)
    assert first(image) == pytest.approx(second(image), abs=1e-2)


@pytest.mark.parametrize("whitened", [False, True])
def test_a_transform_survives_lists_unchanged(whitened):
    image, amount = fields()
    valid = np.ones(amount.shape, bool)
    transform = robust_standardisation(image[0])
    if whitened:
        transform = noise_whitening([image], [valid], 3, brightness_free=8)
    back = ChannelTransform.from_dict(transform.to_dict())
    assert np.array_equal(back(image), transform(image))
