"""What only a real Slicer can show: the module loads, opens without main window, and closes with the scene.

Run by ctest in a build of the extension, or by hand:
    Slicer --testing --no-main-window --additional-module-path SemiSegExtension --python-script THIS_FILE
"""

import sys
import unittest

import slicer


class SemiSegInSlicerTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_the_module_is_loaded_and_has_an_icon(self):
        module = slicer.modules.semiseg
        assert module.title == "SemiSeg"
        assert not module.icon.isNull()

    def test_opening_the_panel_imports_neither_torch_nor_monai(self):
        slicer.modules.semiseg.widgetRepresentation()
        assert not {"torch", "monai"} & set(sys.modules)

    def test_the_panel_survives_a_closed_scene(self):
        widget = slicer.modules.semiseg.widgetRepresentation().self()
        widget.enter()
        slicer.mrmlScene.Clear()
        widget.enter()
        assert widget.panel.parameters is not None

    def test_the_sample_study_is_offered_and_becomes_cases(self):
        import SampleData

        nodes = SampleData.SampleDataLogic().downloadSamples("SemiSegStudy")
        assert nodes
        widget = slicer.modules.semiseg.widgetRepresentation().self()
        widget.enter()
        assert widget.ui.casesTable.rowCount > 3
        assert widget.panel.whyNoTraining(widget.panel.view) == ""

    def test_the_module_test_passes(self):
        from SemiSeg import SemiSegTest

        SemiSegTest().runTest()


if __name__ == "__main__":
    result = unittest.main(argv=["test"], exit=False).result
    slicer.util.exit(0 if result.wasSuccessful() else 1)
