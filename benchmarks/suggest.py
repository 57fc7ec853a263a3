"""Accuracy after 5 rounds of 5 labels: points that `suggest` chooses against points at random, on simulated scenes.

Both start from the same labels, one per class, and learn by the kernel heads alone, as the default classifier has them
but without its language model, which takes a minute where this takes a second. Each seed is another scene. Accuracies
are of the pixels that no method was given.

    python benchmarks/suggest.py [--seeds 10] [--out benchmarks/results/suggest.json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from diffclip_geo.kernel_heads import fit_kernel_heads
from diffclip_geo.margins import read_with_margin
from diffclip_geo.presets import BlendSettings, load_preset
from diffclip_geo.scenes import Scene
from diffclip_geo.simulation import simulate
from diffclip_geo.suggestion import Pool, choose_points, uncertainty_of
from diffclip_geo.temperature import map_temperature, softmax
from diffclip_geo.training import SCENE_SAMPLE, fit_views, margin_of
from diffclip_geo.views import SCALES

ROUNDS, PER_ROUND, START = 5, 5, 1
SIZE = (96, 96)


@dataclass(frozen=True)
class Ground:
    """Features of each view, class 0…K−1 and map place of every pixel of a scene."""

    views: list[NDArray[np.float32]]
    blend: BlendSettings
    label: NDArray[np.int64]
    place: NDArray[np.float64]
    classes: int


def ground_of(seed: int, folder: Path) -> Ground:
    files = simulate(folder, size=SIZE, seed=seed)
    preset = load_preset("compact")
    margin = margin_of(preset)
    scene = Scene.open(files.hsi, [files.lidar])
    block = read_with_margin(scene, 0, 0, *scene.grid.shape, margin)
    valid = block.valid[margin:-margin, margin:-margin]
    with rasterio.open(files.truth) as dataset:
        truth = dataset.read(1).astype(np.int64)
    label = truth[valid] - 1
    views = [view(block, margin)[label >= 0] for view in fit_views([block], margin, preset)]
    row, column = np.nonzero(valid)
    place = np.column_stack(scene.grid.centre_of(row, column))[label >= 0]
    label = label[label >= 0]
    _, label = np.unique(label, return_inverse=True)
    return Ground(views, preset.blend, label, place, int(label.max()) + 1)


def learn(ground: Ground, shots: NDArray[np.int64]) -> NDArray[np.float32]:
    """Class probabilities of every pixel from the labels of `shots`."""
    sample = np.random.default_rng(0).permutation(len(ground.label))[:SCENE_SAMPLE]
    heads, far, near = fit_kernel_heads(
        ground.blend,
        [view[shots] for view in ground.views],
        ground.label[shots],
        np.arange(len(shots)),
        ground.classes,
        [view[sample] for view in ground.views],
        1 + len(SCALES),
    )
    scores = heads(ground.views)
    return softmax(scores / map_temperature(far, near, ground.label[shots], float(scores.std(0).mean())))


def at_random(ground: Ground, shots: NDArray[np.int64], probabilities: NDArray[np.float32], seed: int) -> NDArray:
    free = np.setdiff1d(np.arange(len(ground.label)), shots)
    return np.random.default_rng(seed).choice(free, PER_ROUND, replace=False)


def suggested(ground: Ground, shots: NDArray[np.int64], probabilities: NDArray[np.float32], seed: int) -> NDArray:
    features = np.concatenate(ground.views, 1)
    free = np.setdiff1d(np.arange(len(ground.label)), shots)
    pool = Pool(features[free], uncertainty_of(probabilities[free]), ground.place[free])
    found = choose_points(
        pool, PER_ROUND, known=features[shots], known_place=ground.place[shots], min_distance=5.0, seed=seed
    )
    return free[found]


def most_uncertain(ground: Ground, shots: NDArray[np.int64], probabilities: NDArray[np.float32], seed: int) -> NDArray:
    uncertainty = uncertainty_of(probabilities)
    uncertainty[shots] = -1
    return np.argsort(-uncertainty, kind="stable")[:PER_ROUND]


METHODS = {"suggest": suggested, "random": at_random, "most uncertain": most_uncertain}


def run(ground: Ground, seed: int) -> dict[str, list[dict[str, float]]]:
    """Accuracy at the start and after each round, by method."""
    rng = np.random.default_rng(seed)
    start = np.concatenate([rng.choice(np.flatnonzero(ground.label == k), START) for k in range(ground.classes)])
    curves: dict[str, list[dict[str, float]]] = {}
    given = start
    predictions: dict[str, list[NDArray[np.int64]]] = {}
    for name, choose in METHODS.items():
        shots, predictions[name] = start, []
        for number in range(ROUNDS + 1):
            probabilities = learn(ground, shots)
            predictions[name].append(probabilities.argmax(1))
            if number < ROUNDS:
                shots = np.concatenate([shots, choose(ground, shots, probabilities, 100 * seed + number)])
        given = np.union1d(given, shots)
    judged = np.setdiff1d(np.arange(len(ground.label)), given)
    for name, rounds in predictions.items():
        curves[name] = []
        for mapped in rounds:
            right = (mapped == ground.label)[judged]
            by_class = [right[ground.label[judged] == k].mean() for k in np.unique(ground.label[judged])]
            curves[name].append({"oa": float(right.mean()), "aa": float(np.mean(by_class))})
    return curves


def summary(runs: list[dict[str, list[dict[str, float]]]]) -> dict[str, object]:
    """Mean and standard deviation over the seeds, and the difference between suggest and random, pair by pair."""
    result: dict[str, object] = {"rounds": ROUNDS, "labels_per_round": PER_ROUND, "seeds": len(runs), "size": SIZE}
    for name in METHODS:
        result[name] = {
            score: {
                "mean": [round(float(np.mean([r[name][i][score] for r in runs])), 4) for i in range(ROUNDS + 1)],
                "sd": [round(float(np.std([r[name][i][score] for r in runs], ddof=1)), 4) for i in range(ROUNDS + 1)],
            }
            for score in ("oa", "aa")
        }
    for score in ("oa", "aa"):
        gain = np.array([r["suggest"][-1][score] - r["random"][-1][score] for r in runs])
        result[f"{score}_gain_over_random"] = {
            "mean": round(float(gain.mean()), 4),
            "standard_error": round(float(gain.std(ddof=1) / np.sqrt(len(gain))), 4),
            "better_in": int((gain > 0).sum()),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "suggest.json")
    options = parser.parse_args()
    runs = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run(ground_of(seed, Path(folder)), seed))
        last = {name: f"{curve[-1]['oa']:.3f}/{curve[-1]['aa']:.3f}" for name, curve in runs[-1].items()}
        print(seed, last, flush=True)
    result = summary(runs)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
