"""The two loops that are compared see the same voxels, change them alike and go on from turn to turn."""

from argparse import Namespace
from dataclasses import replace

import monai_loop
import numpy as np
import our_loop
import pytest
import torch
from benchmark_study import prepare_study, read_task

from SemiSegLib.batches.augment import augmentation
from SemiSegLib.batches.source import BatchSource
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Study
from SemiSegLib.runs.request import TrainingSettings

# MONAI announces changes to come on every use.
pytestmark = pytest.mark.filterwarnings("ignore")
PATCH = (8, 16, 16)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    # These four are stored in four orders of the axes.
    write_cohort(folder / "cohort", fine=6, coarse=1, partial=0, none=1, validation=1, size=(11, 21, 18))
    options = Namespace(
        dataset=folder / "cohort",
        cases=None,
        patch=PATCH,
        batch=2,
        features=(4, 8),
        augmentation="full",
        precision="fp32",
        threads=1,
    )
    path, facts = prepare_study(options, folder, method="supervised")
    return read_task(str(path)), facts


def test_a_task_has_the_training_cases_its_method_learns_from_and_tells_no_path(study):
    task, facts = study
    assert task.case_ids == tuple(f"fine_{number:02d}" for number in range(6))
    assert facts["dataset"] == "phantom cohort, 6 cases"
    assert not any("/" in str(value) for value in facts.values())


def likeness(first, second):
    return np.corrcoef(first.ravel(), second.ravel())[0, 1]


def test_both_loops_see_the_same_voxels(study):
    task, _facts = study
    dataset = task.open()
    store = PreparedStore(task.prepared, dataset, task.plan)
    # The padding at the end makes cases larger than a patch no larger.
    fixed = monai_loop.transforms.Compose(monai_loop.fixed_transforms(replace(task.plan, patch=(1, 1, 1))))
    shapes, leaves = set(), len(dataset.scheme.leaves)
    for case, sample in zip(dataset.cases, monai_loop.samples_of(dataset), strict=True):
        ours, theirs = store.get(case.id), fixed(sample)
        stored = dataset.path(case.annotation.file)
        shapes.add(monai_loop.transforms.LoadImage(image_only=True)(stored).shape)
        # Grids may differ by a voxel: MONAI rounds the extent of a resampled image in another way.
        assert np.abs(np.array(theirs["image"].shape) - ours.image.shape).max() <= 1
        size = tuple(slice(0, min(a, b)) for a, b in zip(theirs["label"].shape[1:], ours.codes.shape, strict=True))
        image, label = theirs["image"][0].numpy()[size], theirs["label"][0].numpy()[size]
        prepared = ours.image[0][size].astype(float)
        # Resampled scans differ by up to half a voxel; a turned one would hardly be like ours at all.
        turned = max(likeness(np.flip(image, axis), prepared) for axis in range(3))
        assert likeness(image, prepared) > max(0.93, turned + 0.2)
        truth = np.array([min(leaf) if len(leaf) == 1 else leaves for leaf in ours.table.sets])[ours.codes[size]]
        assert (truth == label).mean() > 0.95
    assert len(shapes) > 2


def test_a_batch_of_monai_has_our_patch_and_rows(study):
    task, _facts = study
    changes = monai_loop.random_transforms(augmentation("full"), task.plan)
    batch = next(iter(monai_loop.loader_of(monai_loop.samples_of(task.open()), task.plan, changes)))
    assert batch["image"].shape == batch["label"].shape == (2, 1, *PATCH)
    assert set(batch["label"].unique().tolist()) <= {0, 1, 2, 3}


def test_monai_changes_as_often_as_ours(study):
    task, _facts = study
    changes = monai_loop.random_transforms(augmentation("full"), task.plan)
    # Of the table of nnU-Net v2, blur and low resolution halved as each channel is drawn once more.
    wanted = {
        "RandRotated": [0.2],
        "RandZoomd": [0.2],
        "RandGaussianNoised": [0.1],
        "RandGaussianSmoothd": [0.1],
        "RandScaleIntensityd": [0.15],
        "RandScaleIntensityFixedMeand": [0.15],
        "RandSimulateLowResolutiond": [0.125],
        "RandAdjustContrastd": [0.1, 0.3],
        "RandHistogramShiftd": [0.1],
    }
    found = {}
    for change in changes:
        found.setdefault(type(change).__name__, []).append(change.prob)
    assert found == wanted


def test_each_change_of_monai_works_when_it_is_drawn(study):
    task, _facts = study
    settings = augmentation("full")
    sure = replace(settings, **{name: 1.0 for name in vars(settings) if name.endswith("_probability")})
    sure = replace(sure, elastic_probability=0.0, low_resolution=(0.5, 0.6))
    image = torch.randn(1, *PATCH)
    for change in monai_loop.random_transforms(sure, task.plan):
        change.prob = 1.0
        change.set_random_state(1)
        done = change({"image": image.clone(), "label": torch.ones(1, *PATCH)})
        assert not torch.equal(torch.as_tensor(done["image"]), image), type(change).__name__


def test_what_monai_cannot_do_is_not_compared(study):
    task, _facts = study
    with pytest.raises(SystemExit, match="bends or flips"):
        monai_loop.random_transforms(replace(augmentation("full"), elastic_probability=0.1), task.plan)


def test_both_sides_train_a_network_of_the_same_size(study):
    task, _facts = study
    dataset = task.open()
    method = build_method("supervised", Study(scheme=dataset.scheme, plan=task.plan), {})
    theirs = monai_loop.Training(task.plan, len(dataset.scheme.leaves)).network
    assert [p.shape for p in method.parameters()] == [p.shape for p in theirs.parameters()]


def test_a_training_goes_on_from_turn_to_turn_wherever_its_batches_come_from(study):
    task, _facts = study
    dataset = task.open()
    weights = []
    for way in ("in_a_thread", "made_before"):
        store = PreparedStore(task.prepared, dataset, task.plan)
        source = BatchSource(store, dataset.cases, task.plan, composition={"full": 1.0}, seed=0)
        torch.manual_seed(0)
        method = build_method("supervised", Study(scheme=dataset.scheme, plan=task.plan), {})
        fixed = TrainingSettings(
            steps=1, precision="fp32", channels_last=False, threads=1, schedule="constant", deterministic=True
        )
        training = our_loop.Training(method, fixed)
        batches = getattr(our_loop.Batches(source), way)
        found = [training.run(batches, steps) for steps in (2, 3)]
        assert [len(times["seconds"]) for times in found] == [2, 3]
        assert training.step == 5
        weights.append(torch.cat([value.flatten() for value in method.state_dict().values()]))
    assert torch.equal(*weights)


def test_the_monai_loop_does_the_steps_it_is_asked_for(study):
    task, _facts = study
    training = monai_loop.Training(task.plan, 4)
    before = training.network.state_dict()["heads.subclass.convolution.weight"].clone()
    batch = {"image": torch.randn(2, 1, *PATCH), "label": torch.randint(0, 4, (2, 1, *PATCH))}
    times = training.run(monai_loop.always(batch), 3)
    assert len(times["seconds"]) == 3
    assert training.epoch_loss > 0
    assert not torch.equal(before, training.network.state_dict()["heads.subclass.convolution.weight"])
