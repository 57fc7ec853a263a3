"""What a student learns, and what counts as doubt."""

import numpy as np
import pytest
from students import CLASSES, core, raster, run, views_of

from diffclip_geo import distillation
from diffclip_geo.distillation import DOUBTS, Lesson, distil_student, share_in_doubt
from diffclip_geo.scenes import inset
from diffclip_geo.student import feature_model, view_features


class Teacher:
    """Its classes follow from the components of the views, or from the kernel heads it is given."""

    def __init__(self, block, heads=None):
        self.views = views_of(block)
        self.heads = heads
        self.classifier = type("Classifier", (), {"kernels": heads})()
        rng = np.random.default_rng(5)
        bands, layers = len(block.hsi), len(block.lidar)
        features = run(feature_model(self.views, bands, layers).SerializeToString(), block)
        self.features = features[:, core(block).ravel()].T
        self.rule = rng.normal(size=(self.features.shape[1], CLASSES)) / self.features.std(0)[:, None]

    def lesson(self, part) -> Lesson:
        features = self.features[part]
        target = (features - self.features.mean(0)) @ self.rule
        kernels = None
        if self.heads is not None:
            kernels = self.heads([view_features(features, self.views, number) for number in range(len(self.views))])
            kernels = (kernels - kernels.mean(1, keepdims=True)).astype(np.float32)
            target = 2 * kernels
        return Lesson(features, (target - target.mean(1, keepdims=True)).astype(np.float32), kernels)


@pytest.fixture(scope="module")
def block():
    return raster(104, 96)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(distillation, "EPOCHS", 20)


def parts(teacher):
    which = np.random.default_rng(0).permutation(len(teacher.features))
    return teacher.lesson(which[:1200]), teacher.lesson(which[1200:])


def same(student, block, lesson_of_all):
    found = run(student.model().SerializeToString(), block)[core(block)]
    return (found.argmax(1) == lesson_of_all.target.argmax(1)).mean()


def test_a_student_learns_what_a_network_can_say(block, quick):
    teacher = Teacher(block)
    student = distil_student(teacher, *parts(teacher), 6, 1)
    assert student.refinement is None
    assert share_in_doubt(student, teacher.features) == 0
    assert same(student, block, teacher.lesson(slice(None))) > 0.93


def test_what_the_network_cannot_say_is_left_to_the_kernel_heads(block, monkeypatch):
    from students import kernel_heads

    monkeypatch.setattr(distillation, "LEAST_STEPS", 5)  # of training: the network stays bad
    monkeypatch.setattr(distillation, "EPOCHS", 0)
    teacher = Teacher(block, kernel_heads(views_of(block), block))
    student = distil_student(teacher, *parts(teacher), 6, 1)
    assert student.refinement is not None and student.refinement.gain == pytest.approx(2, rel=1e-4)
    share = share_in_doubt(student, teacher.features)
    without = distillation.Student(student.views, 6, 1, student.hidden, student.output)
    everything = teacher.lesson(slice(None))
    assert 0.02 < share <= 1
    assert same(student, block, everything) > same(without, block, everything) + 0.05


def test_training_is_deterministic_given_the_seed(block, monkeypatch):
    monkeypatch.setattr(distillation, "LEAST_STEPS", 30)
    monkeypatch.setattr(distillation, "EPOCHS", 1)
    teacher = Teacher(block)
    models = [distil_student(teacher, *parts(teacher), 6, 1, seed=seed).model() for seed in (0, 0, 1)]
    first, again, other = (model.SerializeToString() for model in models)
    assert first == again != other


@pytest.mark.parametrize(("wrong", "expected"), [(0.0, 0), (0.5, 0.5)])
def test_doubt_is_the_least_that_is_enough(wrong, expected):
    rng = np.random.default_rng(1)
    label = rng.integers(0, CLASSES, 4000)
    right = np.eye(CLASSES)[label]
    lead = rng.uniform(0, 2, len(label))
    scores = right * lead[:, None]
    unsure = lead < wrong  # there the network says another class
    scores[unsure] = np.roll(scores[unsure], 1, 1)
    doubt = distillation._least_doubt(scores, right, label, 1.0)
    assert doubt == (0 if not expected else next(one for one in DOUBTS if one >= expected))


def test_blocks_lose_their_border(block):
    small = inset(block, 3)
    assert small.valid.shape == tuple(size - 6 for size in block.valid.shape)
    assert np.array_equal(small.hsi, block.hsi[:, 3:-3, 3:-3])
