"""The methods that can be compared, by name, and groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import OptionError
from ..kernel_heads import RECIPES
from ..prompts import PROMPTS
from .clip_tower import ClipFile, ClipMethod
from .networks import NetworkMethod
from .peers import PeerMethod
from .protocol import Method

PUBLISHED_PATCHES = 700  # windows that the paper pretrains on
MASK_RATIOS = (0.1, 0.3, 0.5, 0.9)  # beside the 0.7 of both presets
WINDOWS = (5, 7, 9, 13, 15)  # beside 11
PATCHES = (100, 300, 1500, 5000)

OURS = NetworkMethod("ours", "the default preset")
PAPER = NetworkMethod("paper", "the two stages as published, nothing else", preset="paper", patches=PUBLISHED_PATCHES)


def _from(base: NetworkMethod, name: str, description: str, **changes: Any) -> NetworkMethod:
    """`base` with one thing changed; `changes` are settings of the preset by table, or fields of the method."""
    fields = {key: value for key, value in changes.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in changes.items() if isinstance(value, dict)}
    tables = dict(base.changes) | {key: {**base.changes.get(key, {}), **value} for key, value in tables.items()}
    return replace(base, name=f"{base.name}-{name}", description=description, changes=tables, **fields)


# A network that counts for nothing need not be trained: its scores are multiplied by 0.
_IDLE_NETWORK: dict[str, dict[str, Any]] = {
    "encoder": {"window": 1, "width": 8, "depth": 1, "heads": 1},
    "fewshot": {"epochs": 0, "least_steps": 1},
}
KERNELS = _from(
    OURS, "no-language", "without the language model", blend={"language": 0.0}, pretrained=False, **_IDLE_NETWORK
)
_SHORT = {name: name.removesuffix("_kernel").replace("kernel", "smooth") for name in RECIPES}
EXPERTS = (
    KERNELS,
    *(
        _from(KERNELS, f"no-{_SHORT[name]}", f"and without the {_SHORT[name]} head", blend={name: 0.0})
        for name in _SHORT
    ),
    *(
        _from(
            KERNELS,
            f"only-{_SHORT[name]}",
            f"the {_SHORT[name]} head alone",
            blend={o: 0.0 for o in _SHORT if o != name},
        )
        for name in _SHORT
    ),
    _from(KERNELS, "fixed-weights", "and with weights that shots do not move", blend={"freedom": 0.0}),
    _from(
        KERNELS, "no-relatives", "and, in plots, without views relative to the surroundings", blend={"relative": 0.0}
    ),
    _from(KERNELS, "no-nearness", "and without nearness to the shots", blend={"nearness": 0.0}),
    _from(KERNELS, "no-whitening", "the kernel heads on standardised bands", whitened=False),
    _from(KERNELS, "single-pixels", "the kernel heads on single pixels", context=False),
    *(_from(OURS, f"no-{_SHORT[name]}", f"without the {_SHORT[name]} head", blend={name: 0.0}) for name in _SHORT),
    _from(OURS, "language-only", "without kernel heads", blend=dict.fromkeys(_SHORT, 0.0)),
    _from(OURS, "ldc", "with the LDC head", head="ldc"),
    _from(OURS, "ldc-learned", "with the LDC head, its block weights learned", head="ldc-learned"),
    _from(OURS, "no-nearness", "without nearness to the shots", blend={"nearness": 0.0}),
    _from(OURS, "no-whitening", "standardised bands instead of noise-whitened components", whitened=False),
    _from(OURS, "single-pixels", "kernel heads that see single pixels", context=False),
    _from(OURS, "class-token", "class tokens alone, without the centre pixel's", fewshot={"centre": False}),
    _from(OURS, "all-cells", "every cell of a window shown in stage 2", fewshot={"visible": 1.0}),
    _from(OURS, "no-pretraining", "an encoder with random weights", pretrained=False),
)


def _stages(base: NetworkMethod) -> tuple[NetworkMethod, ...]:
    """The ablations of the paper, from one pipeline."""
    return (
        _from(base, "no-text", "class numbers instead of class texts", named=False, prompt="{class}"),
        _from(base, "no-diffusion", "pretraining without noise (T = 0)", pretraining={"timesteps": 0}),
        _from(base, "no-mask", "pretraining without a mask", pretraining={"mask_ratio": 0.0}),
        _from(base, "no-pretraining", "an encoder with random weights", pretrained=False),
        *(_from(base, prompt, f"prompt {prompt}", prompt=prompt) for prompt in PROMPTS),
        *(
            _from(base, f"mask-{ratio:g}", f"mask ratio {ratio:g}", pretraining={"mask_ratio": ratio})
            for ratio in MASK_RATIOS
        ),
        *(_from(base, f"window-{side}", f"windows of {side}×{side}", encoder={"window": side}) for side in WINDOWS),
        *(
            _from(base, f"patches-{count}", f"pretrained on {count} windows", patches=count)
            for count in (*PATCHES, *(() if base.patches else (PUBLISHED_PATCHES,)))
        ),
    )


_ON = {
    "spectra": "all bands",
    "multiscale": "components smoothed at three scales",
    "placed": "these and the place of the pixel",
}
_SKLEARN = tuple(
    PeerMethod(f"{features}-{name}", f"{what} on {on}", features, estimator, settings)
    for features, on in _ON.items()
    for name, what, estimator, settings in (
        ("svm", "RBF-SVM", "sklearn.svm.SVC", {"C": 100, "gamma": "scale"}),
        (
            "rf",
            "random forest of 300 trees",
            "sklearn.ensemble.RandomForestClassifier",
            {"n_estimators": 300, "random_state": 0},
        ),
        (
            "extratrees",
            "500 extremely randomised trees",
            "sklearn.ensemble.ExtraTreesClassifier",
            {"n_estimators": 500, "random_state": 0},
        ),
    )
)
PEERS = tuple(peer for peer in _SKLEARN if peer.features != "placed")
PLACED = tuple(peer for peer in _SKLEARN if peer.features == "placed")
PEER_NAMES = tuple(peer.name for peer in PEERS)

CLIP = (
    ClipMethod("clip-zero-shot", "a CLIP model on true-colour windows and class texts, without shots", True),
    ClipMethod("clip-probe", "logistic regression on the vectors of a CLIP model on true-colour windows", False),
)

GROUPS: dict[str, tuple[Method, ...]] = {
    "peers": PEERS,
    "placed-peers": PLACED,
    "clip": CLIP,
    "ablation": EXPERTS,
    "ours-stages": tuple(one for one in _stages(OURS) if one.name not in {other.name for other in EXPERTS}),
    "paper-stages": _stages(PAPER),
}
METHODS: dict[str, Method] = {
    method.name: method for method in (OURS, PAPER, *(one for group in GROUPS.values() for one in group))
}


def choose_methods(names: Sequence[str], device: str = "cpu", clip: ClipFile | None = None) -> list[Method]:
    """Methods by name or by group, each once, networks on `device`, those of CLIP with the model `clip`.

    Raises OptionError.
    """
    chosen: dict[str, Method] = {}
    for name in names:
        if name not in METHODS and name not in GROUPS:
            raise OptionError(
                f"method {name!r}", "is not known", f"use names of --list-methods, or a group: {', '.join(GROUPS)}"
            )
        for method in GROUPS.get(name) or (METHODS[name],):
            chosen[method.name] = method
            if isinstance(method, NetworkMethod):
                chosen[method.name] = replace(method, device=device)
            elif isinstance(method, ClipMethod):
                chosen[method.name] = ready = replace(method, device=device, source=clip)
                ready.model()  # told before anything is measured
    return list(chosen.values())
