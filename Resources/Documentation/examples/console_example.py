# Trains on the built-in study and segments a scan that nobody has labeled, without the panel.
# Paste it into Slicer's Python console. Slicer stays usable while it waits; the results are new segmentations.

import slicer
from SemiSeg import SemiSegLogic

STUDY = f"{slicer.app.temporaryPath}/SemiSeg console example"
MINUTES = 2

logic = SemiSegLogic()
print(logic.missingPackages() or "All packages are installed.")  # if not: logic.installPackages(print)

# Cases of the scene: volumes with their segmentations. The scheme is read from the segments.
logic.loadSampleStudy()
scheme = logic.readScheme()
cases = logic.casesFromScene(scheme)
print(f"{len(cases)} cases, structures: {', '.join(leaf.name for leaf in scheme.leaves)}")

# Written as a dataset; the nodes of the scene are only read.
study = logic.exportStudy(STUDY, cases, scheme)
print(logic.recommend(study.dataset).reason)

# Trained in a process of its own: it would go on if Slicer was closed now.
run = logic.startTraining(study.path, minutes=MINUTES)
status = logic.waitFor(run, tell=print)
print(f"{status.state} after {status.step} steps, model: {run.model_path}")

# Applied to a scan without labels.
job = logic.applyModel(run, [slicer.util.getNode("none_00")])
logic.waitFor(job, tell=print)
results = logic.loadResults(job)
print(f"New in the scene: {', '.join(node.GetName() for node in results)}")
