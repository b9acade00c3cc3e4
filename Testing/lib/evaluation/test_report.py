"""The report and its pictures: what is on the page is true, linked, oriented and drawn in millimeters."""

import importlib
import re
import struct

import numpy as np
import pytest

from SemiSegLib.cases.volume import Geometry, Volume
from SemiSegLib.errors import DependencyError
from SemiSegLib.evaluation.case_csv import read_case_csv
from SemiSegLib.evaluation.charts import boxes_chart, curves_chart
from SemiSegLib.evaluation.drawing import (
    PALETTE,
    best_plane,
    canonical,
    leaf_colors,
    new_figure,
    show_image,
    show_masks,
)
from SemiSegLib.evaluation.metrics import CaseScore, StructureScore, score_case
from SemiSegLib.evaluation.pictures import CaseView, cases_picture
from SemiSegLib.evaluation.report import ReportContent, notable_cases, write_report
from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.labels.scheme import LabelScheme, Structure

SCHEME = LabelScheme(
    name="test",
    structures=(
        Structure(name="organ"),
        Structure(name="head", parent="organ"),
        Structure(name="tail | end", parent="organ"),
    ),
)
FULL = LabelSetTable.of(3, [frozenset({leaf}) for leaf in range(3)])
EVENTS = [
    {"kind": "started", "step": 0},
    *[
        {"kind": "stepped", "step": step, "losses": {"cross entropy": 100 / step, "dice": 1 / step}}
        for step in range(10, 100, 10)
    ],
    {"kind": "validated", "step": 50, "dice": {"head": 0.5, "tail | end": 0.4}, "is_best": True},
    {"kind": "validated", "step": 90, "dice": {"head": 0.6, "tail | end": 0.3}, "is_best": False},
]


def geometry(shape, spacing=(2.5, 0.8, 1.1)):
    angle = 0.2
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.eye(3)[:, ::-1] * spacing
    return Geometry(shape, affine)


def case(seed, shape=(9, 31, 23)):
    """Return image, reference leaves and a prediction that misses a part of them."""
    generator = np.random.default_rng(seed)
    leaves = np.zeros(shape, dtype=np.uint8)
    leaves[3:7, 8:16, 6:15], leaves[3:7, 16:24, 8:17] = 1, 2
    image = (leaves * 50 + generator.normal(0, 10, shape)).astype(np.float32)
    prediction = leaves.copy()
    prediction[:, 18 + seed :] = 0
    return Volume(image, geometry(shape)), leaves, Volume(prediction, geometry(shape))


def codes_of(leaves, table=FULL):
    return np.array([table.code(frozenset({leaf})) for leaf in range(3)], dtype=np.uint8)[leaves]


def view_of(name, *, table=FULL, codes=None):
    image, leaves, prediction = case(int(name[-1]))
    return CaseView(name, image, codes_of(leaves) if codes is None else codes, table, (("ours", prediction.voxels),))


def score_of(name):
    _image, leaves, prediction = case(int(name[-1]))
    return score_case(name, prediction, codes_of(leaves), FULL, SCHEME)


def png_size(path):
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", content[16:24])


def test_a_report_links_files_that_exist_and_says_what_was_measured(tmp_path):
    names = [f"case{number}" for number in range(5)]
    content = ReportContent(
        title="marginal on the phantom",
        scheme=SCHEME,
        scores=[score_of(name) for name in names],
        facts={"method": "marginal", "labels": "4 fine | 8 coarse"},
        events=EVENTS,
        view=view_of,
    )
    page = write_report(tmp_path / "report", content)
    text = page.read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)]+)\)", text)
    assert set(linked) == {"scores.png", "cases.png", "curves.png", "scores.csv"}
    for name in linked:
        assert (page.parent / name).stat().st_size > 500
    assert text.startswith("# marginal on the phantom\n")
    assert "| labels | 4 fine \\| 8 coarse |" in text
    assert "distances in mm" in text
    assert "its diagonal" in text
    # All five cases lose a slab of the tail: mean Dice and interval are in the table.
    dice = np.mean([row.dice for score in content.scores for row in score.rows if row.structure == "tail | end"])
    assert f"| tail \\| end | leaf | 5 | {dice:.3f} (" in text
    assert read_case_csv(page.parent / "scores.csv") == list(content.scores)
    assert "Best, median, worst of 5 cases." in text


def test_two_scans_of_one_patient_give_no_interval(tmp_path):
    scores = [score_of("case0"), score_of("case1")]
    plain = write_report(tmp_path / "two", ReportContent(title="t", scheme=SCHEME, scores=scores))
    assert re.search(r"\| tail .*\| 2 \| 0\.\d{3} \(", plain.read_text())
    content = ReportContent(title="t", scheme=SCHEME, scores=scores, patients={"case0": "p", "case1": "p"})
    text = write_report(tmp_path / "one", content).read_text()
    assert re.search(r"\| tail .*\| 2 \| 0\.\d{3} \|", text)
    assert "intervals over patients" in text


def test_the_same_report_gives_the_same_bytes(tmp_path):
    content = ReportContent(title="t", scheme=SCHEME, scores=[score_of("case1")], events=EVENTS, view=view_of)
    first, second = (write_report(tmp_path / name, content).parent for name in ("a", "b"))
    for file in sorted(first.iterdir()):
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_a_report_without_scores_says_so_and_shows_the_training(tmp_path):
    page = write_report(tmp_path, ReportContent(title="t", scheme=SCHEME, scores=[], events=EVENTS))
    text = page.read_text()
    assert "No structure could be judged" in text
    assert "curves.png" in text
    assert not (tmp_path / "scores.png").exists()
    nothing = write_report(tmp_path / "none", ReportContent(title="t", scheme=SCHEME, scores=[]))
    assert sorted(file.name for file in nothing.parent.iterdir()) == ["report.md", "scores.csv"]


def test_best_median_and_worst_are_different_cases():
    def score(name, dice, kind="leaf"):
        row = StructureScore(
            structure="head",
            kind=kind,
            dice=dice,
            unit="mm",
            prediction_ml=1,
            reference_ml=1,
            known_fraction=1,
            empty="",
        )
        return CaseScore(name, (row,))

    scores = [score(name, dice) for name, dice in zip("abcde", (0.5, 0.9, 0.7, 0.1, 0.8), strict=True)]
    assert notable_cases(scores) == [("best", "b", 0.9), ("median", "c", 0.7), ("worst", "d", 0.1)]
    assert notable_cases(scores[:1]) == [("best", "a", 0.5)]
    assert notable_cases(scores[:2]) == [("best", "b", 0.9), ("worst", "a", 0.5)]
    assert notable_cases([]) == []
    assert notable_cases([score("x", None), score("y", 0.4, "superclass")]) == [("best", "y", 0.4)]


@pytest.mark.parametrize(
    ("spacing", "axis", "aspect"), [((5.0, 0.8, 1.0), 0, 0.8), ((1.0, 4.0, 0.5), 1, 2.0), ((1.0, 1.0, 3.0), 2, 1.0)]
)
def test_a_slice_is_cut_across_the_thickest_voxels_and_shown_in_millimeters(spacing, axis, aspect):
    mask = np.zeros((20, 24, 28), dtype=bool)
    mask[4:6, 5:7, 8:10] = True
    mask[4, 5:9, 8] = True
    plane = best_plane(mask, spacing)
    assert (plane.axis, plane.aspect) == (axis, pytest.approx(aspect))
    assert mask.take(plane.index, axis).sum() == max(mask.take(i, axis).sum() for i in range(mask.shape[axis]))
    assert plane.cut(mask).any()


def test_the_patients_front_is_up_and_the_right_side_on_the_left_of_the_page():
    image = np.zeros((7, 9, 11), dtype=np.float32)
    image[3, 1, 2] = 1
    plane = best_plane(image > 0, (2.0, 1.0, 1.0))
    # Canonical rows run to posterior and columns to the left: anterior right is the upper left corner.
    row, column = np.argwhere(plane.cut(image))[0]
    assert row < plane.cut(image).shape[0] / 2
    assert column < plane.cut(image).shape[1] / 2
    # In a sagittal cut the head is up.
    plane = best_plane(image > 0, (1.0, 1.0, 2.0))
    high = np.zeros_like(image)
    high[6] = 1
    assert plane.cut(high)[0].all()
    # Whatever the order of the array's axes, the same voxel is shown at the same place.
    volume = Volume(image, geometry((7, 9, 11), (1.0, 1.0, 1.0)))
    turned = volume.voxels.transpose(2, 0, 1)[::-1].copy()
    affine = volume.geometry.affine[:, [2, 0, 1, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * 10
    affine[:3, 0] *= -1
    np.testing.assert_array_equal(
        canonical(turned, Geometry(turned.shape, affine))[0], canonical(image, volume.geometry)[0]
    )


def test_outlines_close_at_the_edge_of_the_image_and_keep_its_limits():
    axes = new_figure(2, 2).subplots()
    mask = np.ones((5, 7), dtype=bool)
    plane = best_plane(np.ones((1, 5, 7), dtype=bool), (1.0, 1.0, 1.0))
    show_image(axes, np.random.default_rng(0).random((1, 5, 7)), plane)
    limits = axes.get_xlim(), axes.get_ylim()
    show_masks(axes, [(PALETTE[0], mask), (PALETTE[1], ~mask)])
    assert (axes.get_xlim(), axes.get_ylim()) == limits
    (lines,) = [c for c in axes.collections if hasattr(c, "get_paths")]
    vertices = lines.get_paths()[0].vertices
    assert (vertices.min(0).tolist(), vertices.max(0).tolist()) == ([-0.5, -0.5], [6.5, 4.5])


def test_colors_are_those_that_all_can_tell_apart_until_there_are_too_many_structures():
    assert leaf_colors(SCHEME)[1:] == PALETTE[:2]
    many = LabelScheme(name="m", structures=tuple(Structure(name=f"s{i}", color=(0.1 * i, 0, 0)) for i in range(9)))
    assert leaf_colors(many)[3] == many.leaves[3].color


def test_references_of_every_kind_and_sizes_of_every_kind_are_drawn(tmp_path):
    coarse = LabelSetTable.of(3, [frozenset({0}), frozenset({1, 2})])
    image, leaves, _prediction = case(1)
    lookup = np.array([coarse.code(frozenset({0})), *[coarse.code(frozenset({1, 2}))] * 2], dtype=np.uint8)
    unknown = np.zeros(leaves.shape, dtype=np.uint8)
    thin = Volume(image.voxels[:1], geometry((1, 31, 23)))
    views = [
        view_of("coarse1", table=coarse, codes=lookup[leaves]),
        view_of("unknown1", table=LabelSetTable.of(3, ()), codes=unknown),
        CaseView(
            "a single slice", thin, unknown[:1], LabelSetTable.of(3, ()), (("ours", unknown[:1]), ("two", unknown[:1]))
        ),
    ]
    width, height = png_size(cases_picture(views, SCHEME, tmp_path / "new folder" / "cases.png"))
    assert width > 1000
    assert height > 600


def test_charts_without_data_are_not_made(tmp_path):
    assert curves_chart([{"kind": "started", "step": 0}], tmp_path / "a.png") is None
    assert boxes_chart([], tmp_path / "b.png") is None
    assert list(tmp_path.iterdir()) == []


def test_pictures_without_matplotlib_name_the_package_to_install(monkeypatch, tmp_path):
    real = importlib.import_module

    def refuse(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr("SemiSegLib.evaluation.drawing.importlib.import_module", refuse)
    with pytest.raises(DependencyError, match="pip install matplotlib"):
        curves_chart(EVENTS, tmp_path / "curves.png")
