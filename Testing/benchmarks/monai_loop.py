"""Child of step_cost.py: a training loop as MONAI's tutorials write it, with the network of our plan.

CacheDataset of dictionaries, what is deterministic cached, the rest drawn for each sample by a DataLoader without
workers; DiceCELoss, AdamW, fp32, memory format and threads as torch has them. Random transforms stand in the order,
with the probabilities and the ranges of our augmentation, as far as MONAI has them.
"""

import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from benchmark_study import read_task
from monai import transforms
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceCELoss
from turns import Marks, serve

from SemiSegLib.batches.augment import Augmentation
from SemiSegLib.batches.augment import augmentation as augmentation_named
from SemiSegLib.batches.grid import THICK
from SemiSegLib.batches.intensity import CHANNEL_PROBABILITY, HISTOGRAM_POINTS
from SemiSegLib.cases.dataset import Case, Dataset, frame_of
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.networks.heads import LinearHead
from SemiSegLib.networks.network import SegmentationNetwork
from SemiSegLib.planning.plan import Plan
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.precision import Compute

BOTH = ("image", "label")
# Directions of the canonical axes: toward superior, posterior and left.
CANONICAL = "SPL"
NO_BLUR = (1e-3, 1e-3)
Batch = Mapping[str, Any]


def sample_of(case: Case, dataset: Dataset) -> dict[str, Any]:
    """Return the files of a case as MONAI takes them, and what its stored values are."""
    annotation = case.annotation
    if annotation is None or annotation.values is None or any(map(frame_of, case.images.values())):
        raise SystemExit(f"case '{case.id}': this comparison reads whole files whose values are listed in the dataset")
    leaves = dataset.scheme.leaf_names
    return {
        "image": [str(dataset.path(case.images[role])) for role in dataset.channels],
        "label": str(dataset.path(annotation.file)),
        "values": {value: leaves.index(names[0]) for value, names in annotation.values.items()},
    }


def samples_of(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the fully labeled cases."""
    full = [case for case in dataset.cases if case.regime(dataset.scheme) is Regime.FULL]
    return [sample_of(case, dataset) for case in full]


class ToLeaves(transforms.MapTransform):  # type: ignore[misc]
    """Turn stored values into leaf indices; part of what is cached, so it costs no step anything."""

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        result = dict(data)
        values: dict[int, int] = result.pop("values")
        label = result["label"].clone()
        for value, leaf in values.items():
            label[result["label"] == value] = leaf
        return {**result, "label": label}


def fixed_transforms(plan: Plan) -> list[Any]:
    """Return what brings an image to the plan's grid and range; CacheDataset does it once for each case."""
    axes = "".join(CANONICAL[axis] for axis in plan.axis_order)
    blanked = any(channel.normalization == "zscore_nonzero" for channel in plan.channels)
    return [
        transforms.LoadImaged(keys=BOTH),
        transforms.EnsureChannelFirstd(keys=BOTH),
        ToLeaves(keys="label"),
        transforms.Orientationd(keys=BOTH, axcodes=axes, labels=None),
        transforms.Spacingd(keys=BOTH, pixdim=plan.spacing_mm, mode=("bilinear", "nearest")),
        transforms.NormalizeIntensityd(keys="image", nonzero=blanked, channel_wise=True),
        transforms.SpatialPadd(keys=BOTH, spatial_size=plan.patch),
    ]


def crop(plan: Plan) -> Any:
    """Return a crop of which a third is centered on foreground, as ours."""
    return transforms.RandCropByPosNegLabeld(keys=BOTH, label_key="label", spatial_size=plan.patch, pos=1.0, neg=2.0)


def random_transforms(settings: Augmentation, plan: Plan) -> list[Any]:
    """Return our augmentation in MONAI's words, step for step.

    MONAI decides once for all channels where ours decides for each. It cannot bend as ours does; ours does not bend by
    default. Nothing is flipped.
    """
    if settings.elastic_probability or settings.mirror:
        raise SystemExit("this comparison knows no augmentation that bends or flips")
    in_plane = plan.spacing_mm[0] > THICK * min(plan.spacing_mm)
    return [*_spatial(settings, in_plane), *_intensity(settings, in_plane)]


def _spatial(settings: Augmentation, in_plane: bool) -> list[Any]:
    angle = math.radians(settings.rotation_degrees)
    # Ours magnifies by 1 / factor.
    least, most = 1 / settings.scaling[1], 1 / settings.scaling[0]
    return [
        transforms.RandRotated(
            keys=BOTH,
            prob=settings.rotation_probability,
            range_x=angle,
            range_y=0.0 if in_plane else angle,
            range_z=0.0 if in_plane else angle,
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        ),
        transforms.RandZoomd(
            keys=BOTH,
            prob=settings.scaling_probability,
            min_zoom=[1.0, least, least] if in_plane else least,
            max_zoom=[1.0, most, most] if in_plane else most,
            mode=("trilinear", "nearest"),
            padding_mode="constant",
        ),
    ]


def _intensity(settings: Augmentation, in_plane: bool) -> list[Any]:
    blur = settings.blur_voxels
    blur_probability = settings.blur_probability * CHANNEL_PROBABILITY
    low_probability = settings.low_resolution_probability * CHANNEL_PROBABILITY
    brightness, contrast = ((low - 1, high - 1) for low, high in (settings.brightness, settings.contrast))
    gammas = ((True, settings.inverted_gamma_probability), (False, settings.gamma_probability))
    return [
        transforms.RandGaussianNoised("image", prob=settings.noise_probability, std=settings.noise_deviation[1]),
        transforms.RandGaussianSmoothd(
            "image", prob=blur_probability, sigma_x=NO_BLUR if in_plane else blur, sigma_y=blur, sigma_z=blur
        ),
        transforms.RandScaleIntensityd("image", prob=settings.brightness_probability, factors=brightness),
        transforms.RandScaleIntensityFixedMeand(
            "image", prob=settings.contrast_probability, factors=contrast, preserve_range=True
        ),
        transforms.RandSimulateLowResolutiond("image", prob=low_probability, zoom_range=settings.low_resolution),
        *(
            transforms.RandAdjustContrastd(
                "image", prob=probability, gamma=settings.gamma, invert_image=is_inverted, retain_stats=True
            )
            for is_inverted, probability in gammas
        ),
        transforms.RandHistogramShiftd(
            "image", prob=settings.histogram_probability, num_control_points=HISTOGRAM_POINTS
        ),
    ]


def loader_of(samples: list[dict[str, Any]], plan: Plan, random: list[Any]) -> DataLoader:
    """Return the loader of a tutorial; the same seed draws the same."""
    # A batch must fit into an epoch.
    samples = samples * math.ceil(plan.batch / len(samples))
    steps = transforms.Compose([*fixed_transforms(plan), crop(plan), *random]).set_random_state(0)
    cached = CacheDataset(samples, steps, progress=False)
    return DataLoader(cached, batch_size=plan.batch, shuffle=True, drop_last=True, num_workers=0)


def endless(loader: DataLoader) -> Iterator[Batch]:
    while True:
        yield from loader


def always(batch: Batch) -> Iterator[Batch]:
    while True:
        yield batch


class Training:
    """Network, loss and optimizer, and a loop around them."""

    def __init__(self, plan: Plan, classes: int) -> None:
        torch.manual_seed(0)
        backbone = build_backbone(
            plan.network, in_channels=len(plan.channels), dimensions=plan.dimensions, patch=plan.patch
        )
        head = LinearHead(backbone.feature_channels, classes, plan.dimensions)
        self.network = SegmentationNetwork(backbone, {"subclass": head}, leaves=classes)
        usual = TrainingSettings()
        self.loss = DiceCELoss(to_onehot_y=True, softmax=True)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=usual.learning_rate, weight_decay=usual.weight_decay
        )
        self.epoch_loss = 0.0

    def run(self, batches: Iterator[Batch], steps: int) -> dict[str, list[float]]:
        """Do the next steps and return their times."""
        marks = Marks()
        watched = marks.watch(batches)
        self.network.train()
        for _step in range(steps):
            batch = next(watched)
            self.optimizer.zero_grad()
            loss = self.loss(self.network(batch["image"])["subclass"], batch["label"])
            loss.backward()
            self.optimizer.step()
            self.epoch_loss += loss.item()
        watched.close()  # type: ignore[attr-defined]
        return marks.times()


def main() -> None:
    # MONAI announces changes to come on every use.
    warnings.simplefilter("ignore")
    task = read_task(sys.argv[1])
    if task.plan.dimensions != 3:
        raise SystemExit("this comparison is made for volumes")
    dataset = task.open()
    samples = samples_of(dataset)
    augmented = loader_of(samples, task.plan, random_transforms(augmentation_named(task.augmentation), task.plan))
    without = loader_of(samples, task.plan, [])
    training = Training(task.plan, len(dataset.scheme.leaves))
    one = next(iter(without))
    compute = Compute(device="cpu", threads=torch.get_num_threads())
    serve(
        {"compute": compute.words},
        {
            "augmented": lambda steps: training.run(endless(augmented), steps),
            "without augmentation": lambda steps: training.run(endless(without), steps),
            "there": lambda steps: training.run(always(one), steps),
        },
    )


if __name__ == "__main__":
    main()
