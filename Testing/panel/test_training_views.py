"""What can be looked at while a model learns: plot, preview, log, and whether the other scans helped."""

import shutil
import zipfile

import numpy as np
import pytest
import slicer

from SemiSegLib.config import write_json
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Previewed, Stepped, Validated, event_to_line
from SemiSegModule.bridge.geometry import toGeometry, volumeGrid
from SemiSegModule.bridge.preview import PREVIEW_ATTRIBUTE
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE, resultsInScene
from SemiSegModule.bridge.training_plot import LARGEST_COUNT, PLOT_ATTRIBUTE
from SemiSegModule.history import TrainingHistory
from SemiSegModule.panel.log_view import LINES
from Testing.bridge import scenes
from Testing.host.interaction import click, process_events
from Testing.panel.studies import a_gain, alive, choose_run, column, open_box, reopen_scene, show_whole


def look(panel):
    """What the timer does once a second."""
    panel.panel.training.watcher.look()
    process_events()


def tell(run, *events):
    for event in events:
        run.append_event(event_to_line(event, time=0.0))


def stepped(step, loss):
    return Stepped(
        step=step,
        fraction=step / 100,
        losses={"dice": loss},
        weights={},
        learning_rate=1e-3,
        seconds_per_step=0.1,
        data_seconds=0.01,
        eta_seconds=90.0,
    )


def validated(step, dice, **more):
    cases = {"head": 2, "tail": 1, "vessel": 0}
    scores = {"head": dice, "tail": dice / 2, "vessel": float("nan")}
    return Validated(step=step, dice=scores, cases=cases, mean_dice=dice, is_best=True, seconds=1.0)


@pytest.fixture
def training(study, started):
    """The panel while a training is at work, and its run."""
    click(study.ui.trainButton)
    (run,) = started
    tell(run, stepped(10, 1.0), validated(10, 0.4), stepped(20, 0.8), validated(20, 0.6))
    run.write_status(alive(RunStatus(state="training", step=20, total_steps=100, fraction=0.2, eta_seconds=90)))
    look(study)
    return study, run


def plot_nodes(class_name):
    return [node for node in slicer.util.getNodesByClass(class_name) if node.GetAttribute(PLOT_ATTRIBUTE)]


def points(series):
    table = series.GetTableNode().GetTable()
    names = (series.GetXColumnName(), series.GetYColumnName())
    return [[table.GetColumnByName(n).GetValue(i) for i in range(table.GetNumberOfRows())] for n in names]


def shown_chart():
    views = slicer.util.getNodesByClass("vtkMRMLPlotViewNode")
    return views[0].GetPlotChartNode() if views else None


def test_loss_and_dice_of_each_structure_are_a_plot_of_slicers(host, training, screenshot):
    study, run = training
    assert plot_nodes("vtkMRMLPlotChartNode") == []
    click(study.ui.showPlotButton)
    (chart,) = plot_nodes("vtkMRMLPlotChartNode")
    assert chart.GetTitle() == run.request.title
    series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [node.GetName() for node in series] == ["Loss", "Dice head", "Dice tail"]
    assert points(series[0]) == [[10.0, 20.0], [1.0, 0.8]]
    assert points(series[1]) == [[10.0, 20.0], [0.4, 0.6]]
    assert len({series[n].GetColor() for n in range(3)}) == 3
    layout = slicer.app.layoutManager().layout
    assert slicer.modules.plots.logic().GetLayoutWithPlot(layout) == layout
    show_whole(study)
    screenshot("training_running", study.ui.trainingSection)


def test_the_plot_follows_the_training_in_the_same_nodes(training):
    study, run = training
    click(study.ui.showPlotButton)
    before = [n.GetID() for c in ("vtkMRMLPlotSeriesNode", "vtkMRMLTableNode") for n in plot_nodes(c)]
    tell(run, stepped(30, 0.7), validated(30, 0.7))
    look(study)
    click(study.ui.showPlotButton)
    (chart,) = plot_nodes("vtkMRMLPlotChartNode")
    assert points(chart.GetNthPlotSeriesNode(0)) == [[10.0, 20.0, 30.0], [1.0, 0.8, 0.7]]
    assert points(chart.GetNthPlotSeriesNode(2))[1] == [0.2, 0.3, 0.35]
    assert before == [n.GetID() for c in ("vtkMRMLPlotSeriesNode", "vtkMRMLTableNode") for n in plot_nodes(c)]


def test_a_plot_that_was_deleted_is_not_made_again_until_it_is_asked_for(training):
    study, run = training
    click(study.ui.showPlotButton)
    slicer.mrmlScene.RemoveNode(plot_nodes("vtkMRMLPlotChartNode")[0])
    tell(run, stepped(30, 0.7))
    look(study)
    assert plot_nodes("vtkMRMLPlotChartNode") == []


def test_the_plot_is_not_saved_with_the_scene(training, tmp_path):
    study, _run = training
    click(study.ui.showPlotButton)
    reopen_scene(tmp_path / "scene.mrb")
    for name in ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"):
        assert plot_nodes(name) == []


def test_the_plot_of_days_has_as_many_points_as_can_be_seen(study, started):
    click(study.ui.trainButton)
    history = TrainingHistory()
    history.losses = [(n / 50_000, float(n)) for n in range(50_000)]
    history.lossSteps = list(range(50_000))
    study.panel.logic.showPlot(started[0], history)
    (series,) = plot_nodes("vtkMRMLPlotSeriesNode")
    steps, losses = points(series)
    assert len(steps) <= LARGEST_COUNT + 1
    assert (steps[0], steps[-1], losses[-1]) == (0.0, 49_999.0, 49_999.0)


def write_preview(run, volume, labels):
    run.preview.mkdir(exist_ok=True)
    file = run.preview / "Ann.seg.nrrd"
    scenes.write_segmentation_file(file, labels, toGeometry(volumeGrid(volume)), {1: "head", 2: "tail"})
    return "preview/Ann.seg.nrrd"


def previews():
    return [n for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if n.GetAttribute(PREVIEW_ATTRIBUTE)]


def test_the_preview_is_shown_only_if_wanted_in_one_node_beside_its_scan(training):
    study, run = training
    volume = slicer.util.getNode("Ann")
    labels = np.zeros(scenes.SHAPE, np.uint8)
    labels[1:3, 1:4, 1:5] = 1
    file = write_preview(run, volume, labels)
    tell(run, Previewed(step=20, case="Ann", file=file))
    look(study)
    assert previews() == []
    click(study.ui.previewCheckBox)
    (node,) = previews()
    assert node.GetName() == "Ann preview"
    assert study.ui.previewLabel.text == "Ann at step 20"
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "head", volume), labels == 1)
    node.GetDisplayNode().SetOpacity(0.3)

    labels[1:3, 5:8, 1:5] = 2
    tell(run, Previewed(step=30, case="Ann", file=write_preview(run, volume, labels)))
    look(study)
    assert previews() == [node]
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "tail", volume), labels == 2)
    assert node.GetDisplayNode().GetOpacity() == 0.3
    assert study.ui.previewLabel.text == "Ann at step 30"
    click(study.ui.previewCheckBox)
    assert previews() == []


def test_a_preview_is_told_of_its_own_run_alone(training):
    study, run = training
    labels = np.zeros(scenes.SHAPE, np.uint8)
    labels[1:3, 1:4, 1:5] = 1
    tell(run, Previewed(step=20, case="Ann", file=write_preview(run, slicer.util.getNode("Ann"), labels)))
    click(study.ui.previewCheckBox)
    look(study)
    assert study.ui.previewLabel.text == "Ann at step 20"
    preview = study.panel.training.preview
    shown = study.panel.training.progress.data.preview
    preview.show(RunFolder(shutil.copytree(run.path, run.path.with_name("other"))), None)
    assert study.ui.previewLabel.text == ""
    preview.show(run, shown)
    assert study.ui.previewLabel.text == "Ann at step 20"


def test_a_preview_is_neither_labels_nor_a_result_to_review_nor_saved(training, tmp_path):
    study, run = training
    labels = np.ones(scenes.SHAPE, np.uint8)
    tell(run, Previewed(step=20, case="Dan", file=write_preview(run, slicer.util.getNode("Dan"), labels)))
    look(study)
    click(study.ui.previewCheckBox)
    (node,) = previews()
    assert node.GetAttribute(RESULT_ATTRIBUTE)
    assert resultsInScene() == []
    rows = study.panel.parameters.rows()
    assert all(row.segmentation is not node for row in rows)
    path = tmp_path / "scene.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    with zipfile.ZipFile(path) as saved:
        assert not [name for name in saved.namelist() if "preview" in name]


def test_a_preview_changes_no_node_of_the_user(training):
    study, run = training
    nodes = [
        *slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"),
        *slicer.util.getNodesByClass("vtkMRMLSegmentationNode"),
    ]
    before = [scenes.digest(node) for node in nodes]
    file = write_preview(run, slicer.util.getNode("Ann"), np.ones(scenes.SHAPE, np.uint8))
    tell(run, Previewed(step=20, case="Ann", file=file))
    look(study)
    click(study.ui.previewCheckBox)
    assert len(previews()) == 1
    assert [scenes.digest(node) for node in nodes] == before


@pytest.mark.parametrize(
    ("case", "file", "words"),
    [("Ann", "preview/gone.seg.nrrd", "the file does not exist"), ("Bob", "x.seg.nrrd", "Bob is not in the scene")],
)
def test_a_preview_that_cannot_be_shown_says_why_without_a_dialog(host, training, case, file, words):
    study, run = training
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("Bob"))
    click(study.ui.previewCheckBox)
    tell(run, Previewed(step=20, case=case, file=file))
    look(study)
    look(study)
    assert words in study.ui.previewLabel.text
    assert previews() == []
    assert host.dialogs.messages == []


def test_a_preview_is_never_laid_on_another_scan_of_the_same_name_and_size(host, training):
    study, run = training
    volume = slicer.util.getNode("Ann")
    tell(run, Previewed(step=20, case="Ann", file=write_preview(run, volume, np.ones(scenes.SHAPE, np.uint8))))
    grid = volumeGrid(volume).matrix
    slicer.mrmlScene.RemoveNode(volume)
    scenes.a_volume(np.random.default_rng(9), grid, name="Ann")
    look(study)
    click(study.ui.previewCheckBox)
    assert "there is a scan of the name 'Ann', but it is another one" in study.ui.previewLabel.text
    assert previews() == []
    assert host.dialogs.messages == []


def test_the_preview_of_a_scan_that_was_renamed_and_moved_since_lies_on_it(training):
    study, run = training
    volume = slicer.util.getNode("Ann")
    labels = np.zeros(scenes.SHAPE, np.uint8)
    labels[1:3, 1:4, 1:5] = 1
    tell(run, Previewed(step=20, case="Ann", file=write_preview(run, volume, labels)))
    volume.SetName("first visit")
    scenes.moved(volume, values=scenes.a_motion(np.random.default_rng(8)))
    look(study)
    click(study.ui.previewCheckBox)
    (node,) = previews()
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "head", volume), labels == 1)


def test_the_log_is_read_while_its_box_is_open_and_only_its_end(training, screenshot):
    study, run = training
    run.log_path.write_text("".join(f"line {n}\n" for n in range(1000)))
    look(study)
    assert study.ui.logEdit.plainText == ""
    open_box(study.ui.logBox)
    lines = study.ui.logEdit.plainText.splitlines()
    assert len(lines) == LINES
    assert lines[-1] == "line 999"
    with open(run.log_path, "a") as file:
        file.write("one more\n")
    look(study)
    assert study.ui.logEdit.plainText.splitlines()[-1] == "one more"
    show_whole(study)
    screenshot("training_log", study.ui.trainingSection)


def test_whether_the_other_scans_helped_is_said_structure_by_structure(host, study, started, screenshot):
    click(study.ui.baselineCheckBox)
    click(study.ui.trainButton)
    first, second = started
    title = study.ui.runsTable.item(0, 0).text()
    for run in started:
        run.write_status(alive(RunStatus(state="training", step=1)))
    look(study)
    assert study.ui.gainLabel.text == f"Whether the other scans helped is told when '{title}' has ended."
    assert not study.ui.gainTable.visible
    first.write_status(RunStatus(state="finished", step=9, best_dice=0.8))
    second.gain_path.parent.mkdir(parents=True)
    write_json(second.gain_path, a_gain())
    second.write_status(RunStatus(state="finished", step=9, best_dice=0.74))
    look(study)
    study.panel.training.runs.look()
    process_events()
    assert study.ui.gainLabel.text.split("\n") == [a_gain().sentence, "Only 4 patients."]
    assert column(study.ui.gainTable, 0) == ["all (mean)", "head", "tail"]
    assert column(study.ui.gainTable, 1)[1] == "0.800"
    assert study.ui.gainTable.item(1, 1).toolTip() == "Fine labels alone: 0.700"
    assert column(study.ui.gainTable, 2)[1] == "+0.100 (+0.080 to +0.120)"
    assert column(study.ui.gainTable, 3) == ["helped", "helped", "no measurable gain"]
    show_whole(study)
    screenshot("training_gain", study.ui.trainingSection)
    # The baseline tells the same of itself.
    choose_run(study, title)
    assert column(study.ui.gainTable, 3)[0] == "helped"


def test_a_baseline_that_failed_leaves_it_open(study, started):
    click(study.ui.baselineCheckBox)
    click(study.ui.trainButton)
    started[0].write_status(RunStatus(state="finished", step=9))
    started[1].write_status(RunStatus(state="failed", message="out of memory"))
    look(study)
    study.panel.training.runs.look()
    process_events()
    assert study.ui.gainLabel.text.endswith("did not come to its end.")
    assert not study.ui.gainTable.visible
