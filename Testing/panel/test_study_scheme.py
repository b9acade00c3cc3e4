"""Which structures a study has: from segments and from data sets, under whatever name, and what a model calls them."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.formats import save_dataset
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.labels.schemes import ready_scheme
from Testing.bridge import scenes
from Testing.host.interaction import choose, click, click_cell, drop_files, process_events, tick_cell, wait_until
from Testing.panel.models import a_model_file
from Testing.panel.studies import column

LABELS = 2


def an_image(path, values):
    """Labels with a block of four voxels for each value."""
    voxels = np.zeros((6, 8, 10), np.uint8)
    for number, value in enumerate(values):
        voxels[2:4, 3:5, 2 * number + 1] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))


def a_decathlon(root, labels, cases):
    """A folder of the Medical Segmentation Decathlon; cases are the values that are drawn in each."""
    training = []
    for name, values in cases.items():
        for folder in ("imagesTr", "labelsTr"):
            an_image(root / folder / f"{name}.nii.gz", values)
        training.append({"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"})
    names = {"0": "background", **{str(number): label for number, label in enumerate(labels, 1)}}
    data = {"name": "study", "tensorImageSize": "3D", "modality": {"0": "MRI"}, "labels": names, "training": training}
    (root / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    return root / "dataset.json"


def brains(root):
    """Two cases of a data set with a group in its tree: the core is drawn as a whole, or in its parts."""
    cases = []
    for name, drawn in (("fine", ("edema", "necrotic core", "enhancing tumor")), ("coarse", ("edema", "tumor core"))):
        values = {0: ("background",), **{number: (structure,) for number, structure in enumerate(drawn, 1)}}
        an_image(root / f"{name}.nii.gz", values)
        an_image(root / f"{name}_labels.nii.gz", [value for value in values if value])
        annotation = Annotation(file=f"{name}_labels.nii.gz", values=values)
        cases.append(Case(id=name, patient=name, images={"FLAIR": f"{name}.nii.gz"}, annotation=annotation))
    dataset = Dataset(
        name="brains",
        scheme=ready_scheme("brain_tumor"),
        channels=("FLAIR",),
        cases=tuple(cases),
        root=root,
        modality={"FLAIR": "MR"},
    )
    save_dataset(dataset, root / "dataset.json")
    return root / "dataset.json"


def add(panel, path):
    assert drop_files(panel.ui.casesTable.viewport(), [path])
    wait_until(lambda: not panel.panel.cases.loading.isBusy, what="everything is loaded")
    process_events()


def tree(panel):
    return {s.name: s.parent for s in panel.panel.view.scheme.structures[1:]}


def test_what_a_person_calls_no_structure_is_none_of_the_scheme(panel):
    generator = np.random.default_rng(0)
    masks = scenes.blobs(generator)
    drawn = {"head": masks["head"], "ROI": masks["tail"] | masks["head"], "scribble": masks["vessel"]}
    for name, kinds in (("Ann", drawn), ("Bob", {"head": masks["head"]})):
        scenes.a_segmentation(scenes.a_volume(generator, name=name), kinds, name=f"{name} drawn")
    process_events()
    click_cell(panel.ui.casesTable, 0, 0)
    for number, meaning in ((1, "(region that was annotated)"), (2, "(left out)")):
        choose(panel.ui.meaningsTable.cellWidget(number, 1), meaning)
    assert set(tree(panel)) == {"head"}
    assert column(panel.ui.casesTable, LABELS) == ["partial", "fine"]
    assert panel.panel.view.sketch.cases[1].annotation.elsewhere == ("background",)
    panel.ui.structuresSection.collapsed = False
    click(panel.ui.addSegmentsButton)
    assert set(tree(panel)) == {"head"}


def test_a_segment_that_was_said_to_be_what_another_is_called_makes_no_structure_of_its_own(panel):
    generator = np.random.default_rng(0)
    masks = scenes.blobs(generator)
    for name, kinds in (("Ann", ("head", "vessel")), ("Bob", ("label 1", "vessel"))):
        drawn = {kind: masks["head" if kind == "label 1" else kind] for kind in kinds}
        scenes.a_segmentation(scenes.a_volume(generator, name=name), drawn, name=f"{name} drawn")
    process_events()
    assert column(panel.ui.casesTable, LABELS) == ["partial", "partial"]
    click_cell(panel.ui.casesTable, 1, 0)
    choose(panel.ui.meaningsTable.cellWidget(0, 1), "head")
    assert set(tree(panel)) == {"head", "vessel"}
    assert column(panel.ui.casesTable, LABELS) == ["fine", "fine"]
    choose(panel.ui.meaningsTable.cellWidget(0, 1), "label 1")
    assert set(tree(panel)) == {"head", "vessel", "label 1"}
    # Without the case that calls something so, its own name is all that is left.
    choose(panel.ui.meaningsTable.cellWidget(0, 1), "head")
    tick_cell(panel.ui.casesTable, 0)
    assert set(tree(panel)) == {"vessel", "label 1"}


def test_the_last_segment_can_be_left_out_and_brought_back(panel):
    generator = np.random.default_rng(0)
    drawn = {"head": scenes.blobs(generator)["head"]}
    scenes.a_segmentation(scenes.a_volume(generator, name="Ann"), drawn, name="Ann drawn")
    process_events()
    click_cell(panel.ui.casesTable, 0, 0)
    choose(panel.ui.meaningsTable.cellWidget(0, 1), "(left out)")
    assert panel.panel.view.whyNotReady() == "None of the ticked cases has labels."
    choose(panel.ui.meaningsTable.cellWidget(0, 1), "choose...")
    assert panel.panel.view.whyNotReady() == ""


def test_what_was_said_holds_under_another_spelling_and_under_an_alias(panel, tmp_path):
    """The labels of the data set as they are, and the ready structures that the panel points to."""
    add(panel, a_decathlon(tmp_path, ["Anterior", "Posterior"], {"a": (1, 2), "b": (1,)}))
    assert column(panel.ui.casesTable, LABELS) == ["fine", "fine"]
    assert panel.panel.parameters.rows()[1].lookedFor == ["Anterior", "Posterior"]
    assert "The ready structures 'hippocampus'" in panel.ui.casesSummaryLabel.text
    choose(panel.ui.schemeComboBox, "hippocampus")
    assert column(panel.ui.casesTable, LABELS) == ["fine", "fine"]
    for case in panel.panel.view.cases:
        assert set(case.lookedFor) == {"anterior", "posterior"}
    rows = panel.panel.parameters.rows()
    rows[0].meanings = {**rows[0].meanings, "Anterior": "hippocampal formation"}
    rows[0].overlapRules = [["Hippocampus head", "Posterior", "Hippocampus head"]]
    panel.panel.parameters.setRows(rows)
    process_events()
    case = panel.panel.view.cases[0]
    assert case.meanings["Anterior"] == "hippocampus"
    assert case.overlapRules == {("anterior", "posterior"): "anterior"}


def test_a_data_set_brings_its_structures_with_groups_aliases_and_what_nobody_drew(panel, tmp_path):
    add(panel, brains(tmp_path))
    assert panel.panel.view.scheme.structures == ready_scheme("brain_tumor").structures
    assert column(panel.ui.casesTable, LABELS) == ["fine", "coarse"]
    panel.ui.structuresSection.collapsed = False
    click(panel.ui.undoStructureButton)
    assert panel.panel.parameters.schemeSource == "scene"


def test_a_data_set_that_is_added_leads_what_was_only_drawn_and_follows_what_was_edited(panel, tmp_path):
    generator = np.random.default_rng(0)
    masks = scenes.blobs(generator)
    drawn = {"edema": masks["head"], "ventricle": masks["vessel"]}
    scenes.a_segmentation(scenes.a_volume(generator, name="Ann"), drawn, name="Ann drawn")
    process_events()
    add(panel, brains(tmp_path / "brains"))
    ready = {s.name: s.parent for s in ready_scheme("brain_tumor").structures[1:]}
    assert tree(panel) == {**ready, "ventricle": None}
    add(panel, a_decathlon(tmp_path / "more", ["edema", "Ventricle", "bone"], {"c": (1, 2, 3)}))
    assert tree(panel) == {**ready, "ventricle": None, "bone": None}
    before = panel.panel.parameters.editedScheme
    add(panel, a_decathlon(tmp_path / "again", ["bone"], {"d": (1,)}))
    assert panel.panel.parameters.editedScheme == before


# Names that a model knows


def edit(study, name, *arguments):
    """One edit of the structures, as the section makes it."""
    call = getattr(study.logic.study, name)
    study.panel.structures._edit(lambda: call(study.panel.view.scheme, *arguments))
    process_events()


def train(study, started):
    """Train, and return the model file that came of it."""
    click(study.ui.trainButton)
    scheme = study.panel.view.scheme
    return a_model_file(started[-1].model_path, scheme=scheme)


def asked(study, started, model):
    """What a training that begins with a model is told of names."""
    study.panel.parameters.warmStart = str(model)
    process_events()
    click(study.ui.trainButton)
    request = started[-1].request
    assert request.warm_start == str(model)
    return dict(request.renamed), {name: tuple(old) for name, old in request.merged.items()}


def test_each_model_is_told_the_names_that_changed_since_its_own_training(study, started):
    first = train(study, started)
    edit(study, "renameStructure", "tail", "cauda")
    edit(study, "addStructure", "tail")
    second = train(study, started)
    assert asked(study, started, first) == ({"cauda": "tail"}, {})
    assert asked(study, started, second) == ({}, {})
    edit(study, "mergeStructures", ["cauda"], "head")
    assert asked(study, started, first) == ({}, {"head": ("head", "tail")})
    assert asked(study, started, second) == ({}, {"head": ("head", "cauda")})


def test_names_that_are_exchanged_lead_back_before_and_not_after(study, started):
    first = train(study, started)
    for old, new in (("head", "x"), ("tail", "head"), ("x", "tail")):
        edit(study, "renameStructure", old, new)
    second = train(study, started)
    assert asked(study, started, first) == ({"head": "tail", "tail": "head"}, {})
    assert asked(study, started, second) == ({}, {})


def test_a_structure_that_came_in_since_is_new_whatever_it_is_called(study, started):
    first = train(study, started)
    edit(study, "addStructure", "cyst")
    edit(study, "renameStructure", "cyst", "bubble")
    assert asked(study, started, first) == ({}, {})


@pytest.mark.parametrize(
    ("known", "renamed", "merged"),
    [
        (("organ", "head", "tail", "vessel"), {"cauda": "tail"}, {"head": ("head", "vessel")}),
        (("tail", "vessel"), {"cauda": "tail", "head": "vessel"}, {}),
        (("cauda", "head"), {}, {}),
        (("cauda", "tail", "head"), {}, {}),
        (("lung",), {}, {}),
    ],
)
def test_of_a_foreign_model_only_names_count_that_it_has(study, started, tmp_path, known, renamed, merged):
    edit(study, "renameStructure", "tail", "cauda")
    edit(study, "mergeStructures", ["vessel"], "head")
    scheme = LabelScheme(name="foreign", structures=tuple(Structure(name=name) for name in known))
    model = a_model_file(tmp_path / "foreign.safetensors", scheme=scheme)
    assert asked(study, started, model) == (renamed, merged)


def test_with_another_scheme_than_the_edited_one_no_name_is_told_until_it_is_chosen_again(study, started):
    first = train(study, started)
    edit(study, "renameStructure", "tail", "cauda")
    choose(study.ui.schemeComboBox, "From the segments in the scene")
    assert asked(study, started, first) == ({}, {})
    choose(study.ui.schemeComboBox, "As edited below")
    assert asked(study, started, first) == ({"cauda": "tail"}, {})
    # Edits of another scheme are no further edits of the first one.
    choose(study.ui.schemeComboBox, "From the segments in the scene")
    edit(study, "renameStructure", "vessel", "artery")
    assert asked(study, started, first) == ({"artery": "vessel"}, {})


def test_an_edit_that_was_taken_back_tells_no_name(study, started):
    first = train(study, started)
    edit(study, "renameStructure", "tail", "cauda")
    second = train(study, started)
    study.ui.structuresSection.collapsed = False
    click(study.ui.undoStructureButton)
    assert asked(study, started, first) == ({}, {})
    assert asked(study, started, second) == ({}, {})
    edit(study, "renameStructure", "head", "caput")
    assert asked(study, started, first) == ({"caput": "head"}, {})
    assert asked(study, started, second) == ({"caput": "head"}, {})


def test_a_model_that_cannot_be_read_is_left_to_the_training(study, started, tmp_path):
    edit(study, "renameStructure", "tail", "cauda")
    assert asked(study, started, tmp_path / "gone.safetensors") == ({}, {})
