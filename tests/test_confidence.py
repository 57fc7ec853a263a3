import math

import numpy as np
import pytest

from diffclip_geo.confidence import MEASURES, confidence_of

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("max-prob", [0.7, 0.5, 1, 1 / 3]),
        ("margin", [0.5, 0.25, 1, 0]),
        (
            "entropy",
            [
                1 + (0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1)) / math.log(3),
                1 + (0.5 * math.log(0.25) + 0.5 * math.log(0.5)) / math.log(3),
                1,
                0,
            ],
        ),
    ],
)
def test_measures_are_what_they_say(measure, expected):
    assert confidence_of(PROBABILITIES, measure).tolist() == pytest.approx(expected, abs=1e-6)
    assert MEASURES[measure][1]
