"""Pixels per second of the exact engine, on torch and on ONNX Runtime, beside a plain loop over the pixels.

    python benchmarks/exact_speed.py

The plain loop stands for the evaluation loop of the published code, which has no licence to copy it under: the same
network, batches of 64 windows that are cut one by one from the padded cubes and pass through the whole encoder, the
class texts encoded anew for every batch. Its attention is measured written out, softmax(QKᵀ/√d)·V, and by torch's fused
kernel. Random weights and pixels: they change no speed. All compute the same labels, which is checked.

Each round measures everything once, one after the other; ratios are taken within a round. The plain loop has all cores
through torch's threads, the engines through tiles side by side, as in `classify`. Results go to
benchmarks/results/exact_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from diffclip_geo.exact import ExactEngine
from diffclip_geo.images import Image
from diffclip_geo.nn.encoder import Encoder, EncoderConfig
from diffclip_geo.nn.folded import FoldedEncoder
from diffclip_geo.nn.fusion import ImageEncoder
from diffclip_geo.nn.text import CONTEXT, TextEncoder
from diffclip_geo.onnx_engine import OnnxEngine
from diffclip_geo.onnx_model import encoder_model

RESULTS = Path(__file__).parent / "results" / "exact_speed.json"
SIZES = {
    "reference": EncoderConfig((144, 1), window=11, width=128, depth=4, heads=8, mlp_ratio=2.0),
    "compact": EncoderConfig((20, 1), window=11, width=64, depth=4, heads=4, mlp_ratio=2.0),
}
CLASSES, VOCABULARY, BATCH = 15, 49408, 64
TILE = 16  # pixels
BASE = "plain loop"


@dataclass(frozen=True)
class Task:
    """A network, texts of classes `[K, 77]`, and an image whose pixels are all valid."""

    model: ImageEncoder
    text: TextEncoder
    words: torch.Tensor
    image: Image

    @classmethod
    def of(cls, size: str, rows: int) -> Task:
        torch.manual_seed(0)
        config = SIZES[size]
        width = config.width
        margin = config.window // 2
        image = torch.randn(sum(config.channels), rows * TILE + 2 * margin, 2 * TILE + 2 * margin).permute(1, 2, 0)
        modalities = tuple(part.contiguous() for part in image.split(config.channels, -1))
        return cls(
            ImageEncoder(Encoder(config), width, centre=False).eval(),
            TextEncoder(VOCABULARY, CONTEXT, width, 3, 8, width).eval(),
            torch.randint(1, VOCABULARY, (CLASSES, CONTEXT)),
            Image(modalities, torch.ones(image.shape[:2], dtype=torch.bool), margin),
        )

    @property
    def pixels(self) -> int:
        return int(self.image.core.sum())


def plain_loop(task: Task, fused: bool) -> Callable[[int], np.ndarray]:
    """Labels of all pixels by torch with so many threads."""
    side = task.model.encoder.config.window
    cubes = [one.numpy() for one in task.image.modalities]
    places = [(row, column) for row in range(task.image.core.shape[0]) for column in range(task.image.core.shape[1])]

    @torch.no_grad()
    def run(cores: int) -> np.ndarray:
        torch.set_num_threads(cores)
        for block in task.model.encoder.blocks:
            block.attn.fused_attn = fused
        labels = []
        for start in range(0, len(places), BATCH):
            windows = []
            for cube in cubes:
                batch = np.zeros((len(places[start : start + BATCH]), side * side, cube.shape[-1]), np.float32)
                for number, (row, column) in enumerate(places[start : start + BATCH]):
                    batch[number] = cube[row : row + side, column : column + side].reshape(side * side, -1)
                windows.append(torch.from_numpy(batch))
            logits = task.model(windows) @ task.text(task.words).T
            labels.append(logits.argmax(1).numpy())
        return np.concatenate(labels)

    return run


def by_tiles(task: Task, engine: ExactEngine | OnnxEngine) -> Callable[[int], np.ndarray]:
    """Labels of all pixels, tiles side by side."""
    tiles = []
    margin = engine.margin
    for row in range(0, task.image.core.shape[0], TILE):
        for column in range(0, task.image.core.shape[1], TILE):
            part = np.s_[row : row + TILE + 2 * margin, column : column + TILE + 2 * margin]
            modalities = tuple(one[part].contiguous() for one in task.image.modalities)
            tiles.append((row, column, Image(modalities, task.image.valid[part], margin)))

    def run(cores: int) -> np.ndarray:
        with torch.inference_mode():
            text = task.text(task.words)
        labels = np.zeros(task.image.core.shape, np.int64)

        def label(tile: tuple[int, int, Image]) -> None:
            row, column, image = tile
            found = (engine.embed(image) @ text.T).argmax(1).numpy()
            labels[row : row + TILE, column : column + TILE] = found.reshape(TILE, TILE)

        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as executor:
            list(executor.map(label, tiles))
        return labels.flatten()

    return run


def measure(size: str, cores: Sequence[int], rounds: int, rows: int) -> list[dict[str, object]]:
    """One record per number of cores."""
    task = Task.of(size, rows)
    model = encoder_model(FoldedEncoder(task.model)).SerializeToString()
    methods = {
        BASE: plain_loop(task, fused=False),
        "plain loop, fused attention": plain_loop(task, fused=True),
        "exact, torch": by_tiles(task, ExactEngine(task.model)),
        "exact, ONNX Runtime": by_tiles(task, OnnxEngine(model)),
    }
    records = []
    for count in cores:
        wall: dict[str, list[float]] = {name: [] for name in methods}
        busy: dict[str, list[float]] = {name: [] for name in methods}
        labels = {name: method(count) for name, method in methods.items()}  # warms up, too
        for name, found in labels.items():
            assert (found == labels[BASE]).mean() >= 0.999, name
        for _ in range(rounds):
            for name, method in methods.items():
                started, processor = time.perf_counter(), time.process_time()
                method(count)
                wall[name].append(task.pixels / (time.perf_counter() - started))
                busy[name].append(task.pixels / (time.process_time() - processor))
        records.append(
            {
                "size": size,
                "cores": count,
                "pixels": task.pixels,
                "rounds": rounds,
                "load_average_after": round(os.getloadavg()[0], 2),
                "methods": {
                    name: {
                        "pixels_per_second": round(statistics.median(wall[name])),
                        "all_rounds": [round(one) for one in wall[name]],
                        "ratio_to_plain_loop": ratio(wall[name], wall[BASE]),
                        "pixels_per_processor_second": round(statistics.median(busy[name])),
                        "ratio_of_processor_seconds": ratio(busy[name], busy[BASE]),
                    }
                    for name in methods
                },
            }
        )
        print(json.dumps(records[-1], indent=2), flush=True)
    return records


def ratio(found: Sequence[float], base: Sequence[float]) -> float:
    """Median of the ratios within the rounds."""
    return round(statistics.median(one / other for one, other in zip(found, base, strict=True)), 2)


def processor() -> str:
    """The name of the processor, where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--cores", nargs="+", type=int, default=[1, os.cpu_count() or 1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1, help="rows of two tiles of 16 × 16 pixels")
    chosen = parser.parse_args()
    runs = [record for size in chosen.sizes for record in measure(size, chosen.cores, chosen.rounds, chosen.rows)]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    facts = {
        "command": " ".join(["python", "benchmarks/exact_speed.py", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} cores of {processor()}, torch {torch.backends.cpu.get_cpu_capability()}",
        "versions": {name: version(name) for name in ("torch", "timm", "onnxruntime", "numpy")},
        "commit": commit.stdout.strip(),
        "runs": runs,
    }
    RESULTS.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
