"""How far from its largest piece a structure reaches: by hand, and over the cases of a study."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from SemiSegLib.batches import reach
from SemiSegLib.batches.reach import image_reach, measure_reach
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.volume import Volume, read_labels, write_volume
from Testing.lib.batches.study import a_plan, of_cases, put_study

SPACING_MM = (2.0, 0.5, 0.75)
LEAVES = ("background", "head", "tail", "vessel")


def put_vessel(study, number, places):
    """Draw the vessel of one case anew, as voxels of its file."""
    path = study.path(study.cases[number].annotation.file)
    labels = read_labels(path)
    voxels = np.where(labels.voxels == 3, 0, labels.voxels)
    for place in places:
        voxels[place] = 3
    write_volume(Volume(voxels.astype(np.uint8), labels.geometry), path)


def of_study(study, tmp_path, *, in_case=False, **changes):
    plan = a_plan(spacing_mm=SPACING_MM, **changes)
    store = PreparedStore(tmp_path / "cache", study, plan)
    found = measure_reach(store, [case.id for case in study.cases])
    if plan.dimensions == 3:
        assert found.case_mm == found.image_mm
    return dict(zip(LEAVES, found.case_mm if in_case else found.image_mm, strict=True))


@pytest.fixture
def study(tmp_path):
    """Enough fully drawn cases of 9 slices, with a vessel that is one column."""
    return put_study(tmp_path / "study", ("full",) * 5, shape=(9, 13, 11), spacing_mm=SPACING_MM)


def test_of_two_pieces_the_farthest_voxel_of_the_smaller_one_counts():
    mask = np.zeros((9, 11, 7), dtype=bool)
    assert image_reach(mask, SPACING_MM) == 0
    mask[1:4, 1:4, 1:4] = True
    assert image_reach(mask, SPACING_MM) == 0
    mask[4, 4, 4] = True
    assert image_reach(mask, SPACING_MM) == 0, "what shares a corner is one piece"
    mask[7:9, 3, 3] = True
    # From slice 4, where the piece ends in one corner, or from slice 3 right under it.
    assert image_reach(mask, SPACING_MM) == pytest.approx(min(10.0, math.hypot(8.0, 0.5, 0.75)))
    mask[:, 10, 6] = True
    mask[0:9, 9:11, 4:7] = True
    assert image_reach(mask, SPACING_MM) > 3


def test_the_largest_distance_over_cases_that_show_a_structure_counts(study, tmp_path):
    column = np.s_[:, -1, -1]
    assert of_study(study, tmp_path) == {"background": None, "head": 0, "tail": 0, "vessel": 0}
    put_vessel(study, 1, [column, np.s_[3, -1, -5]])
    put_vessel(study, 2, [column, np.s_[3:5, -1, -3]])
    found = of_study(study, tmp_path)
    assert found["vessel"] == pytest.approx(4 * SPACING_MM[2])
    assert (found["head"], found["tail"]) == (0, 0)


def test_under_a_plan_of_two_dimensions_a_slice_is_an_image(study, tmp_path):
    # A bridge in the last slice alone: one piece in the volume, two in each other slice.
    put_vessel(study, 0, [np.s_[:, -1, -1], np.s_[:, -1, -6], np.s_[-1, -1, -6:]])
    assert of_study(study, tmp_path)["vessel"] == 0
    flat = of_study(study, tmp_path, dimensions=2, patch=(8, 10))
    assert flat["vessel"] == pytest.approx(5 * SPACING_MM[2])
    assert of_study(study, tmp_path, dimensions=2, patch=(8, 10), in_case=True)["vessel"] == 0


def test_of_few_cases_nothing_is_said_nor_of_cases_that_leave_the_structure_open(study, tmp_path):
    few = of_cases(study.root, study.cases[1:])
    assert set(of_study(few, tmp_path).values()) == {None}
    # The tail of one case is drawn as organ, which may be the head too: too few are left.
    note = study.cases[0].annotation
    coarse = replace(note, values={0: ("background",), 1: ("head",), 2: ("organ",), 3: ("vessel",)})
    mixed = of_cases(study.root, [replace(study.cases[0], annotation=coarse), *study.cases[1:]])
    assert of_study(mixed, tmp_path) == {"background": None, "head": None, "tail": None, "vessel": 0}
    put_vessel(study, 1, [])
    assert of_study(study, tmp_path)["vessel"] is None
    unlabeled = of_cases(study.root, [replace(study.cases[0], annotation=None), *study.cases[1:]])
    assert set(of_study(unlabeled, tmp_path).values()) == {None}


def test_a_lesion_may_have_another_one_however_many_labels_show_one(study, tmp_path):
    vessel = study.scheme.find("vessel")
    others = [structure for structure in study.scheme.structures if structure is not vessel]
    scheme = replace(study.scheme, structures=(*others, replace(vessel, name="tumor")))
    values = {0: ("background",), 1: ("head",), 2: ("tail",), 3: ("tumor",)}
    cases = [replace(case, annotation=replace(case.annotation, values=values)) for case in study.cases]
    found = of_study(replace(study, scheme=scheme, cases=tuple(cases)), tmp_path)
    assert (found["head"], found["vessel"]) == (0, None)


def test_of_twenty_cases_the_farthest_does_not_count(tmp_path):
    study = put_study(tmp_path / "study", ("full",) * 20, shape=(3, 5, 9), spacing_mm=SPACING_MM)
    put_vessel(study, 4, [np.s_[:, -1, -1], np.s_[:, -1, -7]])
    assert of_study(study, tmp_path)["vessel"] == 0
    put_vessel(study, 5, [np.s_[:, -1, -1], np.s_[:, -1, -5]])
    assert of_study(study, tmp_path)["vessel"] == pytest.approx(4 * SPACING_MM[2])


def test_a_case_is_measured_once_and_anew_when_its_labels_change(study, tmp_path, monkeypatch):
    measured = []

    def counted(mask, spacing_mm):
        measured.append(mask.shape)
        return image_reach(mask, spacing_mm)

    monkeypatch.setattr(reach, "image_reach", counted)
    of_study(study, tmp_path)
    assert len(measured) == 15
    of_study(study, tmp_path)
    assert len(measured) == 15
    put_vessel(study, 3, [np.s_[:, 0, 0]])
    of_study(study, tmp_path)
    assert len(measured) == 15 + 3
    shutil.rmtree(tmp_path / "cache")
    of_study(study, tmp_path)
    assert len(measured) == 30 + 3
