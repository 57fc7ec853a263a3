from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ArrayScene, core_block, random_image

from diffclip_geo.errors import OptionError
from diffclip_geo.exact import ExactEngine, largest_batch
from diffclip_geo.images import Image
from diffclip_geo.margins import read_with_margin
from diffclip_geo.nn.encoder import Encoder, EncoderConfig
from diffclip_geo.nn.fusion import ImageEncoder
from diffclip_geo.tiles import tiles_of
from diffclip_geo.windows import WindowSource


def image_encoder(channels=(3, 1), side=5, centre=True):
    torch.manual_seed(0)
    model = ImageEncoder(Encoder(EncoderConfig(channels, side, width=16, depth=2, heads=2)), 6, centre=centre).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for rounding, and with the same nearest of six class texts for every pixel."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    texts = torch.randn(6, found.shape[1], generator=torch.Generator().manual_seed(9))
    assert torch.equal((found @ texts.T).argmax(1), (expected @ texts.T).argmax(1))


@given(
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    side=st.sampled_from([1, 3, 5]),
    extra=st.integers(0, 2),
    gaps=st.sampled_from([0.0, 0.3, 0.9]),
    centre=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_every_pixel_gets_what_the_network_says_of_its_window(height, width, side, extra, gaps, centre, seed):
    model = image_encoder(side=side, centre=centre)
    image = random_image(height, width, margin=side // 2 + extra, seed=seed, gaps=gaps)
    source = WindowSource([image], side)
    found = ExactEngine(model).embed(image)
    assert found.shape == (len(source), 6)
    if len(source):
        with torch.inference_mode():
            expected = model(source.gather(torch.arange(len(source))))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_two_runs_give_the_same_bytes():
    image = random_image(20, 17)
    first, second = (ExactEngine(image_encoder()).embed(image).numpy().tobytes() for _ in range(2))
    assert first == second


def test_two_runs_give_the_same_bytes_whatever_the_random_state():
    engine, image = ExactEngine(image_encoder().train()), random_image()
    torch.manual_seed(1)
    first = engine.embed(image)
    torch.manual_seed(2)
    assert torch.equal(engine.embed(image), first)


@pytest.mark.parametrize("size", [3, 100, 1000])
def test_batch_size_changes_nothing(size):
    image = random_image(20, 17)
    engine = ExactEngine(image_encoder(), batch=size)
    assert engine.batch == size
    assert_same(engine.embed(image), ExactEngine(image_encoder()).embed(image))


@pytest.mark.parametrize("tile", [1, 4, 9, 64])
def test_tile_size_changes_nothing(tile):
    image = random_image(13, 11)
    engine = ExactEngine(image_encoder())
    whole = engine.embed(image)
    mosaic = torch.full((13, 11, 6), torch.nan)
    for place in tiles_of(ArrayScene(core_block(image)).grid, tile):
        block = read_with_margin(ArrayScene(core_block(image)), *place, engine.margin)
        modalities = [torch.from_numpy(np.ascontiguousarray(part.transpose(1, 2, 0))) for part in block[:2]]
        part = Image(tuple(modalities), torch.from_numpy(block.valid), engine.margin)
        mosaic[place.row : place.row + place.height, place.column : place.column + place.width][part.core] = (
            engine.embed(part)
        )
    assert mosaic[~image.core].isnan().all()
    assert torch.equal(mosaic[image.core], whole)


def test_number_of_threads_changes_nothing():
    image = random_image(20, 17)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(ExactEngine(image_encoder()).embed(image))
    finally:
        torch.set_num_threads(before)
    assert_same(*found)


def test_one_engine_serves_many_threads():
    engine = ExactEngine(image_encoder())
    images = [random_image(seed=seed) for seed in range(8)]
    alone = [engine.embed(image) for image in images]
    with ThreadPoolExecutor(4) as executor:
        together = list(executor.map(engine.embed, images))
    assert all(map(torch.equal, together, alone))


def test_a_tile_without_a_valid_pixel_has_no_rows():
    assert ExactEngine(image_encoder()).embed(random_image(gaps=1.0)).shape == (0, 6)


def test_one_modality_is_enough():
    model, image = image_encoder((4,)), random_image(channels=(4,))
    source = WindowSource([image], 5)
    torch.testing.assert_close(
        ExactEngine(model).embed(image), model(source.gather(torch.arange(len(source)))).detach(), rtol=1e-4, atol=1e-5
    )


def test_the_margin_holds_the_window():
    assert [ExactEngine(image_encoder(side=side)).margin for side in (1, 5, 11)] == [0, 2, 5]


@pytest.mark.parametrize(("room", "expected"), [(1, 1), (5, 4), (64, 64), (10_000, 64)])
def test_the_largest_batch_is_found_by_trial(room, expected):
    tried = []

    def attempt(batch):
        tried.append(batch)
        if batch > room:
            raise torch.cuda.OutOfMemoryError

    assert largest_batch(attempt, 64) == expected
    assert tried == [2**k for k in range(len(tried))]


def test_a_gpu_without_any_room_is_refused():
    with pytest.raises(OptionError, match="device 'cuda': has no memory left for this network; use --device cpu"):
        largest_batch(lambda _: (_ for _ in ()).throw(torch.cuda.OutOfMemoryError), 64)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_a_gpu_gives_what_the_cpu_gives():
    image = random_image(40, 37)
    engine = ExactEngine(image_encoder(), "cuda")
    found, expected = engine.embed(image), ExactEngine(image_encoder()).embed(image)
    assert found.dtype == torch.float32 and found.device.type == "cpu" and engine.batch >= 32
    assert torch.nn.functional.cosine_similarity(found, expected).min() > 0.99
    assert torch.equal(engine.embed(image), found)
