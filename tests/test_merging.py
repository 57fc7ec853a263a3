import numpy as np

from diffclip_geo.classes import ClassTable
from diffclip_geo.labels import LabelledPixels, LabelReport
from diffclip_geo.merging import merge_labels


def pixels(names, places, labels, group=None, colors=None, **report):
    scene, row, column = np.array(places).T
    return LabelledPixels(
        ClassTable(tuple(names), tuple(colors or [(index, 0, 0) for index in range(len(names))])),
        scene.astype(np.int32),
        row,
        column,
        np.array(labels),
        np.arange(len(labels)) if group is None else np.array(group),
        LabelReport((1,) * len(names), (1,) * len(names), **report),
    )


def test_classes_are_matched_by_name_and_pixels_ordered():
    first = pixels(["road", "tree"], [(0, 5, 5), (0, 1, 1)], [2, 1], group=[3, 3], colors=[(9, 9, 9), (1, 1, 1)])
    second = pixels(["Tree", "water"], [(0, 0, 7), (1, 0, 0)], [1, 2], unlabelled=4)
    found = merge_labels([first, second])
    assert found.classes == ClassTable(("road", "tree", "water"), ((9, 9, 9), (1, 1, 1), (1, 0, 0)))
    assert [*zip(found.scene, found.row, found.column, found.label, strict=True)] == [
        (0, 0, 7, 2),
        (0, 1, 1, 1),
        (0, 5, 5, 2),
        (1, 0, 0, 3),
    ]
    assert found.group[1] == found.group[2] and len(set(found.group.tolist())) == 3  # parts keep theirs, apart
    assert found.report.pixels == (1, 2, 1) and found.report.features == (1, 2, 1)
    assert found.report.unlabelled == 4


def test_a_contradiction_is_dropped_and_counted_and_agreement_counts_once():
    first = pixels(["a", "b", "c"], [(0, 0, 0), (0, 0, 1), (0, 0, 2)], [1, 2, 3])
    second = pixels(["a", "c"], [(0, 0, 0), (0, 0, 1)], [1, 2])
    found = merge_labels([first, second])
    assert found.classes.names == ("a", "c") and found.label.tolist() == [1, 2]
    assert found.report.conflicts == 1 and "no pixel is left of b" in found.report.notes
    assert found.group.tolist() == [0, 2]


def test_one_file_is_itself():
    only = pixels(["a"], [(0, 0, 0)], [1])
    assert merge_labels([only]) is only
