"""Train on a dataset and segment its scans without labels, without a window and without a person.

    Slicer --no-main-window --python-script batch_example.py -- DATA OUTPUT [--minutes 30]

DATA is a dataset in a format that SemiSeg reads; nothing is written to it. OUTPUT takes the run with its model and one
.seg.nrrd for each case that has no labels or is kept for testing. The exit code is 0, 1 with the reason on the error
output, or 2 if the arguments are wrong.
"""

import argparse
import sys
from pathlib import Path

import slicer
from SemiSeg import SemiSegLogic


def main(arguments):
    """Do it, and return the exit code."""
    parser = argparse.ArgumentParser(prog="batch_example.py")
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--method", help="the recommended one if not given")
    parser.add_argument("--minutes", type=float, default=30)
    chosen = parser.parse_args(arguments)

    logic = SemiSegLogic()
    from SemiSegLib.cases.formats import load_dataset
    from SemiSegLib.errors import SemiSegError

    try:
        dataset = load_dataset(chosen.data)
        run = logic.startTraining(chosen.data, chosen.method, minutes=chosen.minutes, folder=chosen.output / "runs")
        logic.waitFor(run, tell=say)
        cases = [case for case in dataset.cases if case.annotation is None or case.split == "test"]
        for case in cases:
            segment(logic, dataset, case, run, chosen.output)
    except SemiSegError as error:
        print(error, file=sys.stderr)
        return 1
    say(f"{len(cases)} scans segmented; model: {run.model_path}")
    return 0


def segment(logic, dataset, case, run, output):
    """Segment one case and write its segmentation; the scene is as before afterwards."""
    volumes, nodes = {}, []
    try:
        for role, file in case.images.items():
            volumes[role] = slicer.util.loadVolume(str(dataset.path(file)))
            nodes.append(volumes[role])
        job = logic.applyModel(run, [volumes], folder=output / "applied")
        logic.waitFor(job, tell=say)
        nodes += logic.loadResults(job)
        # Slicer keeps the properties of the last call otherwise.
        slicer.util.saveNode(nodes[-1], str(output / f"{case.id}.seg.nrrd"), properties={})
    finally:
        for node in nodes:
            slicer.mrmlScene.RemoveNode(node)


def say(text):
    """Print at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    given = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    code = 1
    try:
        code = main(given)
    except SystemExit as end:  # argparse has said what is wrong with the arguments
        code = end.code or 0
    finally:
        # Whatever went wrong, such as a full disk: without a window nobody could close Slicer.
        slicer.util.exit(code)
