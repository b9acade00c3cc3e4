"""What augmentation does and how often: settings by name, and the axes along which they flip a patch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from SemiSegLib.config import check_choice
from SemiSegLib.planning.plan import Plan

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Probabilities (per row; blur and low resolution: then 0.5 per channel) and ranges of random changes.

    The defaults are those of nnU-Net v2 (``nnUNetTrainer.get_training_transforms``). Differences: rotation and scaling
    act in millimeters, not voxels, and elastic deformation and histogram shift can be switched on.

    Attributes:
        rotation_probability: of turning about every axis that may turn.
        rotation_degrees: largest angle about each axis of a volume.
        in_plane_degrees: largest angle where only the slice plane turns (2-D, or one axis 3 times thicker) and mirrored
            images are allowed; otherwise ``rotation_degrees`` holds.
        scaling_probability, scaling: of magnifying by 1 / factor, one factor for all axes.
        elastic_probability, elastic_mm, elastic_period_mm: of smooth displacements, their largest length along each
            axis, and the distance of their control points.
        mirror: flip each allowed axis with probability 0.5. Off in every setting here: scans share one orientation, and
            on the hippocampus flips from left to right alone cost 0.11 and 0.42 Dice (6 fine cases, 400 steps).
        turned: show a patch in one of the eight ways that flips and quarter turns of the plane of its last two axes
            give, each as often; quarter turns only where the voxels of that plane are square.
        shift: put a volume smaller than the patch anywhere in it instead of into its middle.
        noise_probability, noise_deviation: of Gaussian noise.
        blur_probability, blur_voxels: of a Gaussian blur, deviation in voxels.
        brightness_probability, brightness: of multiplication.
        contrast_probability, contrast: of stretching about the mean, clipped to the old range.
        low_resolution_probability, low_resolution: of sampling coarser (nearest) and back (linear).
        gamma_probability, inverted_gamma_probability, gamma: of a power law on the range 0 to 1, of the image or of its
            negative; mean and deviation are kept.
        histogram_probability: of a random monotonic map of intensities through 10 points (MONAI RandHistogramShift).
    """

    rotation_probability: float = 0.2
    rotation_degrees: float = 30.0
    in_plane_degrees: float = 180.0
    scaling_probability: float = 0.2
    scaling: Range = (0.7, 1.4)
    elastic_probability: float = 0.0
    elastic_mm: float = 4.0
    elastic_period_mm: float = 24.0
    mirror: bool = False
    turned: bool = False
    shift: bool = False
    noise_probability: float = 0.1
    noise_deviation: Range = (0.0, 0.1)
    blur_probability: float = 0.2
    blur_voxels: Range = (0.5, 1.0)
    brightness_probability: float = 0.15
    brightness: Range = (0.75, 1.25)
    contrast_probability: float = 0.15
    contrast: Range = (0.75, 1.25)
    low_resolution_probability: float = 0.25
    low_resolution: Range = (0.5, 1.0)
    gamma_probability: float = 0.3
    inverted_gamma_probability: float = 0.1
    gamma: Range = (0.7, 1.5)
    histogram_probability: float = 0.0

    @property
    def flips(self) -> tuple[bool, bool, bool]:
        """Whether patches are flipped along each plan axis."""
        in_plane = self.mirror or self.turned
        return self.mirror, in_plane, in_plane


CROP = Augmentation(
    rotation_probability=0.0,
    scaling_probability=0.0,
    mirror=False,
    shift=True,
    noise_probability=0.0,
    blur_probability=0.0,
    brightness_probability=0.0,
    contrast_probability=0.0,
    low_resolution_probability=0.0,
    gamma_probability=0.0,
    inverted_gamma_probability=0.0,
)
AUGMENTATIONS = {
    "full": Augmentation(histogram_probability=0.1),
    # Ours: half the strength, for scans that vary little.
    "light": Augmentation(
        rotation_degrees=15.0,
        in_plane_degrees=15.0,
        scaling=(0.85, 1.18),
        noise_deviation=(0.0, 0.05),
        blur_probability=0.1,
        brightness=(0.85, 1.15),
        contrast=(0.85, 1.15),
        low_resolution_probability=0.1,
        gamma=(0.85, 1.2),
        inverted_gamma_probability=0.0,
    ),
    # Paper 000: a random crop.
    "crop": CROP,
    # Paper 003 and its family. Their released code turns and then always flips once, so that it shows a patch in four
    # of the eight ways, all of them mirrored; the paper speaks of random flips.
    "crop_turned": replace(CROP, turned=True),
    "none": replace(CROP, shift=False),
}


def augmentation(name: str, *, mirror: bool | None = None) -> Augmentation:
    """Return the settings of this name: "full", "light", "crop", "crop_turned" or "none".

    Args:
        name: of the settings.
        mirror: random flips, or None for what the settings say.

    Raises:
        ConfigError: there are no settings of this name.
    """
    check_choice("augmentation", name, AUGMENTATIONS)
    chosen = AUGMENTATIONS[name]
    return chosen if mirror is None else replace(chosen, mirror=mirror)


def flipped_axes(settings: Augmentation, plan: Plan) -> tuple[bool, bool, bool]:
    """Return the plan axes along which patches are flipped, except those along which a patch has one voxel.

    A prediction may average over copies mirrored along these axes and no others.
    """
    sizes = (1, *plan.patch) if plan.dimensions == 2 else plan.patch
    d, h, w = (wanted and size > 1 for wanted, size in zip(settings.flips, sizes, strict=True))
    return d, h, w
