"""Cases that do not have all the labels must not unlearn what they lack.

10 complete cases, and 30 in which one of three structures was not drawn, keep its Dice within 0.03 of a training on the
10 alone. A reading of "not drawn" as "not there" must fail this, else the data are too easy to tell anything.
"""

import pytest

from SemiSegLib import worker
from SemiSegLib.methods.recommend import recommend
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings
from Testing.lib.lacking import ALONE, write_lacking
from Testing.lib.site_lines import mean_dice

ALLOWED = 0.03
PLAN = PlanSettings(dimensions=2, patch=(28, 28), batch=8, features=(8, 16))
TRAINING = TrainingSettings(
    steps=200, learning_rate=0.01, augmentation="light", device="cpu", precision="fp32", deterministic=True
)

# The trainings are the set-up of the first test; a busy machine may need several times as long as a free one.
pytestmark = pytest.mark.timeout(900)


# The largest structure, an eighth of a scan, and the smallest, a sixtieth.
@pytest.fixture(scope="module", params=["body", "rod"])
def data(request, tmp_path_factory):
    return write_lacking(tmp_path_factory.mktemp("lacking") / "data", request.param), request.param


@pytest.fixture(scope="module")
def lacked(data, tmp_path_factory):
    """Dice of the structure on complete test scans: of the 10 alone, of all 40, and of all 40 read naively."""
    dataset, structure = data
    runs = tmp_path_factory.mktemp("runs")
    readings = {
        "alone": (dataset.root / ALONE, "unknown"),
        "all": (dataset.root, "unknown"),
        "naive": (dataset.root, "background"),
    }
    found = {}
    for name, (path, undrawn) in readings.items():
        request = RunRequest(dataset=str(path), method="marginal", undrawn=undrawn, plan=PLAN, training=TRAINING)
        run = RunFolder.create(runs, request, name=name)
        worker.run(run)
        found[name] = mean_dice(run, path)[structure]
    return found


def test_the_method_is_the_one_that_is_recommended_for_such_cases(data):
    assert recommend(data[0]).method == "marginal"


def test_cases_that_lack_a_structure_do_not_unlearn_it(lacked):
    # Measured with three seeds: 0.011 below to 0.004 above, at 0.954 to 0.985.
    assert lacked["alone"] > 0.9
    assert lacked["all"] >= lacked["alone"] - ALLOWED


def test_reading_what_was_not_drawn_as_background_fails_the_same_test(lacked):
    # Not by a hair. Measured with three seeds: 0.11 to 0.25 below.
    assert lacked["naive"] < lacked["alone"] - ALLOWED - 0.05
