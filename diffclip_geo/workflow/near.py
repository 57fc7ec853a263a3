"""The shots of a workspace that lie on the ground of a scene."""

from __future__ import annotations

from ..exclusion import read_training_pixels
from ..nearness import Nearness, NearShots, near_shots
from ..scenes import Scene
from ..workspace import Workspace


def near_shots_of(place: Workspace, scene: Scene) -> NearShots | None:
    """What weighs the class probabilities of the scene by nearness; None when the classifier does without it.

    Raises WorkspaceError.
    """
    classifier = place.read(place.classifier_manifest, "fewshot")
    if classifier["nearness"] is None:
        return None
    trained = [Scene.from_dict(one) for one in place.read(place.manifest, "pretrain")["scenes"]]
    pixels = read_training_pixels(place.training_pixels)
    classes = len(classifier["classes"]["names"])
    return near_shots(Nearness(**classifier["nearness"]), scene, trained, pixels, classes)
