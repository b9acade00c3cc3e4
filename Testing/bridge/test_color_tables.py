"""Color tables and terminology against Slicer's own readers and writers."""

import pytest
import slicer

from SemiSegLib.labels.color_table import read_color_table, write_color_table
from SemiSegLib.labels.schemes import ready_scheme, ready_schemes, resource_folder
from SemiSegLib.labels.terminology import from_slicer_string, to_slicer_string


def load(path):
    node = slicer.vtkMRMLColorTableNode()
    storage = slicer.vtkMRMLColorTableStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    return node


def save(node, path):
    storage = slicer.vtkMRMLColorTableStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(node) == 1


@pytest.mark.parametrize("name", ready_schemes())
def test_slicer_reads_our_color_table_and_we_read_what_it_writes(name, tmp_path):
    scheme = ready_scheme(name)
    write_color_table(scheme, tmp_path / f"{name}.csv")
    node = load(tmp_path / f"{name}.csv")
    _, values = read_color_table(tmp_path / f"{name}.csv")
    for value, structure_name in values.items():
        structure = scheme.find(structure_name)
        color = [0.0] * 4
        node.GetColor(value, color)
        assert node.GetColorName(value) == structure_name
        assert color[:3] == pytest.approx(structure.color, abs=1 / 500)
        assert color[3] == (0.0 if structure_name == "background" else 1.0)
        if structure.terminology is not None:
            assert from_slicer_string(node.GetTerminologyAsString(value)) == structure.terminology

    save(node, tmp_path / "again.csv")
    again, same_values = read_color_table(tmp_path / "again.csv")
    assert same_values == values
    for structure in scheme.structures:
        # Slicer keeps name, color and codes; the tree and the aliases are not in its own file.
        read = again.find(structure.name)
        assert read.color == pytest.approx(structure.color, abs=1 / 250)
        assert read.terminology == structure.terminology


def test_slicer_understands_our_terminology_entries(tmp_path):
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    assert logic.LoadTerminologyFromFile(str(resource_folder("terminology") / "SemiSeg.term.json"))
    for name in ready_schemes():
        for structure in ready_scheme(name).structures:
            if structure.terminology is None:
                continue
            ours = to_slicer_string(structure.terminology)
            entry = slicer.vtkSlicerTerminologyEntry()
            logic.DeserializeTerminologyEntry(ours, entry)
            assert entry.GetTypeObject().GetCodeValue() == structure.terminology.type.value
            assert logic.SerializeTerminologyEntry(entry) == ours


def test_our_terms_can_be_selected_in_slicer():
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    context = logic.LoadTerminologyFromFile(str(resource_folder("terminology") / "SemiSeg.term.json"))
    assert context == "Segmentation category and type - SemiSeg"
    offered = []
    for n in range(logic.GetNumberOfCategoriesInTerminology(context)):
        category = slicer.vtkSlicerTerminologyCategory()
        assert logic.GetNthCategoryInTerminology(context, n, category)
        for m in range(logic.GetNumberOfTypesInTerminologyCategory(context, category)):
            kind = slicer.vtkSlicerTerminologyType()
            assert logic.GetNthTypeInTerminologyCategory(context, category, m, kind)
            offered.append((category.GetCodeMeaning(), kind.GetCodeMeaning()))
    assert ("Anatomical Structure", "Hippocampus") in offered
    assert ("Morphologically Altered Structure", "Enhancing Lesion") in offered
    assert len(offered) == len(set(offered)) > 12
