"""ONNX models of small networks, run by ONNX Runtime."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny import ArrayScene, core_block, random_image

from diffclip_geo.errors import OptionError
from diffclip_geo.exact import ExactEngine
from diffclip_geo.images import Image
from diffclip_geo.margins import read_with_margin
from diffclip_geo.nn.encoder import Encoder, EncoderConfig
from diffclip_geo.nn.folded import FoldedEncoder
from diffclip_geo.nn.fusion import ImageEncoder
from diffclip_geo.nn.ldc import AdapterFusion, LDCConfig
from diffclip_geo.onnx_engine import OnnxEngine
from diffclip_geo.onnx_model import encoder_model
from diffclip_geo.tiles import tiles_of


def network(channels=(3, 1), side=5, centre=True, depth=2):
    torch.manual_seed(0)
    config = EncoderConfig(channels, side, width=16, depth=depth, heads=2)
    return random(ImageEncoder(Encoder(config), 6, centre=centre)).eval()


def adapters(modalities=2, depth=2):
    return random(AdapterFusion(LDCConfig(16, depth, modalities, 4, 0.07))).eval()


def random(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


def exported(model, fusion=None):
    return encoder_model(FoldedEncoder(model, fusion)).SerializeToString()


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize(("channels", "side", "depth"), [((3, 1), 5, 2), ((4,), 3, 1)])
def test_it_gives_what_torch_gives(channels, side, depth, centre, fusion):
    model = network(channels, side, centre, depth)
    head = adapters(len(channels), depth) if fusion else None
    image = random_image(channels=channels, margin=side // 2 + 1)
    engine = OnnxEngine(exported(model, head))
    expected = ExactEngine(model, fusion=head).embed(image)
    torch.testing.assert_close(engine.embed(image), expected, rtol=1e-4, atol=1e-5)
    assert engine.margin == side // 2
    nothing = engine.embed(random_image(channels=channels, margin=side // 2, gaps=1.0))
    assert nothing.shape == (0, expected.shape[1])


@pytest.mark.parametrize("fusion", [None, adapters()])
def test_the_file_is_of_the_standard(fusion):
    model = encoder_model(FoldedEncoder(network(), fusion))
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 8
    assert [(one.domain, one.version <= 17) for one in model.opset_import] == [("", True)]
    outputs = [one.name for one in model.graph.output]
    assert [one.name for one in model.graph.input] == ["hsi", "lidar"]
    assert outputs == ["z_image"] + ["feature"] * (fusion is not None)
    assert all(one.type.tensor_type.shape.dim[0].dim_param == "batch" for one in model.graph.input)


@pytest.mark.parametrize("size", [1, 3, 500])
def test_any_number_of_windows_gives_the_same(size):
    image, model = random_image(), exported(network())
    engine = OnnxEngine(model, batch=size)
    torch.testing.assert_close(engine.embed(image), OnnxEngine(model).embed(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tile", [1, 4, 9])
def test_tiles_change_no_byte(tile):
    image, engine = random_image(13, 11), OnnxEngine(exported(network()))
    whole = engine.embed(image)
    scene = ArrayScene(core_block(image))
    mosaic = torch.full((13, 11, 6), torch.nan)
    for place in tiles_of(scene.grid, tile):
        block = read_with_margin(scene, *place, engine.margin)
        modalities = [torch.from_numpy(np.ascontiguousarray(part.transpose(1, 2, 0))) for part in block[:2]]
        part = Image(tuple(modalities), torch.from_numpy(block.valid), engine.margin)
        inside = mosaic[place.row : place.row + place.height, place.column : place.column + place.width]
        inside[part.core] = engine.embed(part)
    assert torch.equal(mosaic[image.core], whole)


def test_threads_change_no_byte():
    model = exported(network())
    engine, images = OnnxEngine(model), [random_image(seed=seed) for seed in range(6)]
    alone = [engine.embed(image) for image in images]
    with ThreadPoolExecutor(3) as executor:
        assert all(map(torch.equal, executor.map(engine.embed, images), alone))
    several = OnnxEngine(model, threads=2)
    torch.testing.assert_close(several.embed(images[0]), alone[0], rtol=1e-4, atol=1e-5)


REFUSAL = (
    "device 'cuda:0': is asked for but CUDAExecutionProvider does not work in this ONNX Runtime; "
    "install onnxruntime-gpu in place of onnxruntime, or use --device cpu"
)


def test_a_gpu_that_this_runtime_cannot_use_is_refused(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(OptionError) as caught:
        OnnxEngine(exported(network()), "cuda:0")
    assert str(caught.value) == REFUSAL


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="it may work here")
def test_a_gpu_that_fails_to_load_is_refused(monkeypatch):
    """ONNX Runtime itself would warn, and use the CPU."""
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    with warnings.catch_warnings(), pytest.raises(OptionError) as caught:
        warnings.simplefilter("ignore")
        OnnxEngine(exported(network()), "cuda:0")
    assert str(caught.value) == REFUSAL
