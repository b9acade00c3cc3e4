"""What is said of each structure of a scan: drawn, found, not there, unsure; with score and volume, on file too."""

import csv
import tracemalloc

import numpy as np
import pytest

from SemiSegLib.cases.volume import Geometry, Volume
from SemiSegLib.errors import ConfigError, LabelError
from SemiSegLib.labels.annotation import Annotation, Extent
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.prediction.findings import (
    ABSENT,
    AMBIGUOUS,
    ANNOTATED,
    COLUMNS,
    LATENT,
    PRESENCE,
    STATES,
    Evidence,
    drawn_structures,
    find,
    findings_path,
    read_findings,
    require_structures,
    write_findings,
    write_findings_csv,
)
from SemiSegLib.prediction.predictor import Prediction
from SemiSegLib.prediction.segmentation_file import read_segmentation, write_segmentation
from Testing.lib.schemes import ORGAN_AND_VESSEL

NAMES = RoiTable.of(ORGAN_AND_VESSEL).names


def leaves(*values, shape=(3, 5, 7)):
    """Return an oblique label image in which each value has one voxel more than the one before, from one on."""
    voxels = np.zeros(shape, dtype=np.uint8).ravel()
    start = 0
    for count, value in enumerate(values, 1):
        voxels[start : start + count] = value
        start += count
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turned * (4.0, 2.0, 1.25)
    return Volume(voxels.reshape(shape), Geometry(shape, affine))


def told(*scores):
    return Evidence(scores=np.array(scores, dtype=float), source=PRESENCE)


def states(found):
    return {row.structure: row.state for row in found.structures}


def test_volumes_are_counted_in_a_fraction_of_the_memory_of_the_scan():
    scan = leaves(1, 3, shape=(50, 100, 120))
    tracemalloc.start()
    try:
        find(scan, ORGAN_AND_VESSEL, told(0.95, 0.81, 0.05, 0.5))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < scan.voxels.nbytes


def test_a_structure_is_found_absent_or_unsure_by_score_and_volume():
    # Head and vessel are segmented; the voxel has 0.01 ml.
    found = find(leaves(1, 3), ORGAN_AND_VESSEL, told(0.95, 0.81, 0.05, 0.5))
    assert NAMES == ("organ", "head", "tail", "vessel")
    assert states(found) == {"organ": LATENT, "head": LATENT, "tail": ABSENT, "vessel": AMBIGUOUS}
    assert [row.volume_ml for row in found.structures] == pytest.approx([0.01, 0.01, 0.0, 0.02])
    assert [row.score for row in found.structures] == [0.95, 0.81, 0.05, 0.5]


def test_score_and_volume_that_contradict_each_other_are_unsure():
    found = find(leaves(3), ORGAN_AND_VESSEL, told(0.95, 0.95, float("nan"), 0.01))
    assert states(found) == {"organ": AMBIGUOUS, "head": AMBIGUOUS, "tail": AMBIGUOUS, "vessel": AMBIGUOUS}
    assert found.of("tail").score is None


def test_the_thresholds_are_those_of_the_method():
    evidence = Evidence(scores=np.full(4, 0.6), source=PRESENCE, low=0.3, high=0.5)
    assert states(find(leaves(1, 2, 3), ORGAN_AND_VESSEL, evidence)) == dict.fromkeys(NAMES, LATENT)
    # On a threshold a structure is neither.
    edge = find(leaves(1), ORGAN_AND_VESSEL, told(0.8, 0.8, 0.1, 0.1))
    assert states(edge) == dict.fromkeys(NAMES, AMBIGUOUS)


@pytest.mark.parametrize("score", np.linspace(0, 1, 11))
@pytest.mark.parametrize("values", [(), (1, 2, 3)])
def test_every_structure_has_exactly_one_state_and_what_was_drawn_is_never_another(score, values):
    for drawn in ((), ("vessel",), NAMES):
        found = find(leaves(*values), ORGAN_AND_VESSEL, told(*[score] * 4), drawn)
        for row in found.structures:
            assert row.state in STATES
            assert (row.state == ANNOTATED) is (row.structure in drawn)


def test_a_whole_is_drawn_if_all_its_parts_are_but_a_part_is_not_if_its_whole_is():
    none = told(*[float("nan")] * 4)
    both = find(leaves(), ORGAN_AND_VESSEL, none, ("Head", "tail"))
    assert {row.structure for row in both.structures if row.state == ANNOTATED} == {"organ", "head", "tail"}
    whole = find(leaves(), ORGAN_AND_VESSEL, none, ("organ",))
    assert {row.structure for row in whole.structures if row.state == ANNOTATED} == {"organ"}
    with pytest.raises(LabelError, match="hed"):
        find(leaves(), ORGAN_AND_VESSEL, none, ("hed",))
    with pytest.raises(ConfigError, match="background"):
        require_structures(["head", "background"], ORGAN_AND_VESSEL)


def test_what_an_annotation_shows_is_read_from_its_meanings():
    def shown(values, **how):
        return drawn_structures(Annotation(file="x.nrrd", values=values, **how), ORGAN_AND_VESSEL)

    assert shown({0: ("background", "head", "tail"), 1: ("vessel",)}) == ("vessel",)
    assert shown({0: ("background", "vessel"), 1: ("organ",)}) == ("organ",)
    assert shown({0: ("background",), 1: ("head",), 2: ("tail",), 3: ("vessel",)}) == NAMES
    # Nobody says where there is none: an empty structure of a whole annotation is one that was looked for.
    assert shown({0: ("background",), 1: ("organ",)}) == ("organ", "vessel")
    assert shown({0: ("*",)}) == ()
    assert shown({0: ("*",), 1: ("head",)}, extent=Extent(slices=(1,))) == ("organ", "head")


def test_segments_carry_state_and_score_and_an_unsure_one_is_flagged(tmp_path):
    found = find(leaves(1, 3), ORGAN_AND_VESSEL, told(0.95, 0.9, 0.02, float("nan")))
    path = tmp_path / "x.seg.nrrd"
    write_segmentation(Prediction(leaves(1, 3), None, ORGAN_AND_VESSEL, found), path)
    tags = {name: segment.tags for name, segment in read_segmentation(path).items()}
    assert {name: own["SemiSeg.State"] for name, own in tags.items()} == {
        "head": LATENT,
        "tail": ABSENT,
        "vessel": AMBIGUOUS,
    }
    assert (tags["head"]["SemiSeg.Score"], tags["tail"]["SemiSeg.Score"]) == ("0.900", "0.020")
    assert "SemiSeg.Score" not in tags["vessel"]
    status = {name: own["Segmentation.Status"] for name, own in tags.items()}
    assert status == {"head": "inprogress", "tail": "inprogress", "vessel": "flagged"}
    write_segmentation(Prediction(leaves(1, 3), None, ORGAN_AND_VESSEL), path)
    assert not any("SemiSeg.State" in segment.tags for segment in read_segmentation(path).values())


def test_the_table_of_a_scan_comes_back_and_several_are_one_csv(tmp_path):
    found = find(leaves(1, 3), ORGAN_AND_VESSEL, told(0.95, 0.9, float("nan"), 0.4), ("vessel",))
    write_findings(found, tmp_path / "a.json")
    assert read_findings(tmp_path / "a.json") == found
    write_findings_csv({"Müller, A": found, "b": found}, tmp_path / "all.csv")
    with open(tmp_path / "all.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 8
    first = {"case": "Müller, A", "structure": "organ", "state": LATENT, "score": "0.9500", "volume_ml": "0.010"}
    assert rows[0] == {**first, "source": PRESENCE}
    assert (rows[2]["score"], rows[7]["state"]) == ("", ANNOTATED)


def test_the_table_stands_beside_its_result(tmp_path):
    for name in ("scan.seg.nrrd", "scan.nii.gz", "scan.mha"):
        assert findings_path(tmp_path / name) == tmp_path / "scan_structures.json"


def test_a_group_without_leaves_of_its_own_has_one_row():
    scheme = LabelScheme(
        name="one", structures=(Structure(name="organ"), Structure(name="part", parent="organ"), Structure(name="duct"))
    )
    found = find(leaves(1), scheme, told(*[0.9] * len(RoiTable.of(scheme))))
    assert [row.structure for row in found.structures] == list(RoiTable.of(scheme).names)
