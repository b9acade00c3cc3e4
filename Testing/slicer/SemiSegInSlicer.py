"""What only a real Slicer can show: the module loads, opens without main window, writes and reads, and closes.

Run by ctest in a build of the extension, or by hand:
    Slicer --testing --no-main-window --additional-module-path SemiSegExtension --python-script THIS_FILE

Nothing here needs torch or network.
"""

import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

import slicer


class SemiSegInSlicerTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def widget(self):
        widget = slicer.modules.semiseg.widgetRepresentation().self()
        widget.enter()
        slicer.app.processEvents()
        return widget

    def sample(self):
        from SemiSeg import SemiSegLogic

        return SemiSegLogic().loadSampleStudy()

    def test_the_module_is_loaded_and_described(self):
        module = slicer.modules.semiseg
        assert module.title == "SemiSeg"
        assert not module.icon.isNull()
        assert "href" in module.helpText
        assert "Efficient Subclass Segmentation" in module.acknowledgementText

    def test_opening_the_panel_imports_neither_torch_nor_monai(self):
        self.widget()
        assert not {"torch", "monai"} & set(sys.modules)

    def test_every_section_is_in_the_panel(self):
        from SemiSegModule.panel.forms import SECTIONS

        ui = self.widget().ui
        for name in SECTIONS:
            assert hasattr(ui, f"{name.lower()}Section"), name

    def test_the_panel_survives_a_closed_scene(self):
        widget = self.widget()
        slicer.mrmlScene.Clear()
        widget.enter()
        assert widget.panel.parameters is not None

    def test_the_sample_study_is_offered_and_becomes_cases(self):
        assert self.sample()
        widget = self.widget()
        assert widget.ui.casesTable.rowCount > 3
        assert widget.panel.whyNoTraining(widget.panel.view) == ""

    def test_a_study_is_written_and_its_cases_are_loaded_from_the_files(self):
        from SemiSeg import SemiSegLogic

        logic = SemiSegLogic()
        self.sample()
        with TemporaryDirectory() as folder:
            study = logic.exportStudy(Path(folder) / "study", logic.casesFromScene(), logic.readScheme())
            count = len(study.dataset.cases)
            slicer.mrmlScene.Clear()
            cases = logic.importCases(study.path)
        assert len(cases) == count
        assert any(case.segmentation is not None for case in cases)

    def test_a_result_file_becomes_a_new_segmentation_and_nothing_else_changes(self):
        from SemiSeg import SemiSegLogic

        logic = SemiSegLogic()
        self.sample()
        drawn = slicer.util.getNode("fine_00 labels")
        volume = slicer.util.getNode("fine_00")
        count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
        with TemporaryDirectory() as folder:
            path = Path(folder) / "result.seg.nrrd"
            slicer.util.saveNode(drawn, str(path), properties={})
            result = logic.loadResult(path, volume, name="result")
        assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == count + 1
        assert result is not drawn
        assert result.GetSegmentation().GetNumberOfSegments() == drawn.GetSegmentation().GetNumberOfSegments()

    def test_what_is_missing_is_known_without_importing_it_and_everything_installed_is_kept(self):
        from SemiSegModule import dependencies

        known = {dependencies.TORCH, *dependencies.requirements()}
        assert set(dependencies.missing()) <= known
        kept = " ".join(dependencies.constraints()).lower()
        for name in ("numpy==", "requests==", "pydicom=="):
            assert name in kept
        assert not {"torch", "monai"} & set(sys.modules)

    def test_slicer_s_own_python_starts_beside_it_and_checks_the_computer(self):
        from SemiSeg import SemiSegLogic

        lines = SemiSegLogic().checkComputer()
        assert len(lines) >= 4, lines

    def test_the_module_test_passes(self):
        from SemiSeg import SemiSegTest

        SemiSegTest().runTest()


if __name__ == "__main__":
    result = unittest.main(argv=["test"], exit=False).result
    slicer.util.exit(0 if result.wasSuccessful() else 1)
