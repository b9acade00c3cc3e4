"""Phantom scans: a curved organ of two parts, a vessel, and tissue that misleads, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from SemiSegLib.cases.orientation import Orientation
from SemiSegLib.cases.volume import Geometry, Volume
from SemiSegLib.labels.scheme import LabelScheme, Structure

SCHEME = LabelScheme(
    name="phantom",
    description="An organ whose head and tail differ in texture and position only, and a vessel.",
    structures=(
        Structure(name="organ", color=(0.718, 0.612, 0.863)),
        Structure(name="head", parent="organ", color=(0.902, 0.333, 0.255)),
        Structure(name="tail", parent="organ", color=(0.235, 0.588, 0.882)),
        Structure(name="vessel", color=(0.98, 0.863, 0.275)),
    ),
)
BACKGROUND_LEAF, HEAD, TAIL, VESSEL = range(4)
# The same with a fourth structure: a node beside the organ, on the side where there is no vessel.
NODE = 4
SCHEME_WITH_NODE = LabelScheme(
    name="phantom with a node",
    description=f"{SCHEME.description} And a node.",
    structures=(*SCHEME.structures[1:], Structure(name="node", color=(0.545, 0.765, 0.29))),
)

# The scan for which the anatomy below is written: 58 x 48 x 44 mm.
REFERENCE_MM = np.array([58.0, 48.0, 44.0])
SPACING_MM = np.array([2.4, 1.1, 1.1])
# How a scanner may store the axes: as they are, turned as in RAS files, and in sagittal and coronal slices.
STORED = (
    Orientation((0, 1, 2), (False, False, False)),
    Orientation((0, 1, 2), (False, True, True)),
    Orientation((2, 0, 1), (True, False, False)),
    Orientation((1, 0, 2), (True, True, False)),
)


@dataclass(frozen=True)
class Phantom:
    """One scan and its truth.

    Attributes:
        image: int16, as a scanner stores it.
        leaves: (D, H, W) uint8, leaf index of each voxel: 0 background, 1 head, 2 tail, 3 vessel, 4 node.
    """

    image: Volume
    leaves: np.ndarray

    @property
    def geometry(self) -> Geometry:
        """The grid of image and truth: anisotropic, oblique, in one of four axis orders."""
        return self.image.geometry


def phantom(seed: int, index: int, size: tuple[int, int, int] = (24, 44, 40), *, node: bool = False) -> Phantom:
    """Return a phantom scan; the same (seed, index, size) always gives the same.

    A curved organ runs from front to back in tissue of two kinds. Its front part, the head, and its back part,
    the tail, touch, have the same brightness and differ in texture: fine grain and broad patches. The border
    between them lies elsewhere in each case. A bright vessel winds past it. Blobs as bright as the organ or the
    vessel mislead a model that looks at brightness alone. Contrast, gain, bias field, noise, pose and size vary.

    Args:
        seed: of the cohort.
        index: of the case.
        size: voxels along the canonical axes (superior, posterior, left); a case differs by up to 2 in each.
        node: add the fourth structure; without it the scan is the same.
    """
    random = np.random.default_rng([seed, index])
    shape = tuple(int(n) for n in np.maximum(np.array(size) + random.integers(-2, 3, 3), 4))
    spacing_mm = SPACING_MM * random.uniform(0.9, 1.1, 3)[[0, 1, 1]]
    geometry = _geometry(random, shape, spacing_mm)
    place = _anatomical_coordinates(random, shape, spacing_mm)
    leaves = _anatomy(random, place, spacing_mm)
    if node:
        # A generator of its own, so that everything else is as it is without a node.
        _add_node(np.random.default_rng([seed, index, NODE]), leaves, place)
    image = _appearance(random, leaves, place, spacing_mm)
    stored = STORED[int(random.integers(len(STORED)))]
    return Phantom(Volume(stored.apply(image), stored.apply_geometry(geometry)), stored.apply(leaves))


def _geometry(random: np.random.Generator, shape: tuple[int, ...], spacing_mm: np.ndarray) -> Geometry:
    # Up to 15 degrees about any axis, so that no axis of the grid is an axis of the patient.
    tilt = _rotation(random.normal(size=3), np.deg2rad(random.uniform(3.0, 15.0)))
    affine = np.eye(4)
    # Columns are the steps of array axes D, H, W: superior, posterior, left in LPS.
    affine[:3, :3] = tilt @ np.eye(3)[:, ::-1] * spacing_mm
    affine[:3, 3] = random.uniform(-120.0, 120.0, 3).round(3)
    d, h, w = shape
    return Geometry((d, h, w), affine)


def _anatomical_coordinates(
    random: np.random.Generator, shape: tuple[int, ...], spacing_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return superior, posterior and left position of each voxel in the anatomy, as if it filled REFERENCE_MM."""
    axes = [(np.arange(n, dtype=np.float32) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)]
    scale = random.uniform(0.88, 1.12) * float(np.min(np.array(shape) * spacing_mm / REFERENCE_MM))
    pose = _rotation(random.normal(size=3), np.deg2rad(random.uniform(0.0, 25.0))) / scale
    shift = random.uniform(-3.0, 3.0, 3)
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    up, back, left = (
        (row[0] * grid[0] + row[1] * grid[1] + row[2] * grid[2] + offset).astype(np.float32)
        for row, offset in zip(pose, shift, strict=True)
    )
    return up, back, left


def _anatomy(
    random: np.random.Generator, place: tuple[np.ndarray, np.ndarray, np.ndarray], spacing_mm: np.ndarray
) -> np.ndarray:
    """Return the leaf of each voxel."""
    up, back, left = place
    bumps = _field(random, up.shape, 4.0 / spacing_mm)
    along = np.clip(back / 14.0, -1.0, 1.0)
    bend, rise = random.uniform(3.0, 8.0), random.uniform(-5.0, 5.0)
    off_axis = np.sqrt(
        (left - bend * (along**2 - 0.4)) ** 2 + ((up - rise * along) / 1.2) ** 2 + (back - 14.0 * along) ** 2
    )
    radius = random.uniform(5.4, 7.0) * (1.0 - random.uniform(0.1, 0.3) * along)
    organ = off_axis < radius * (1.0 + 0.12 * bumps)
    border = random.uniform(-0.35, 0.2) + 0.02 * random.normal() * left + 0.02 * random.normal() * up + 0.08 * bumps
    leaves = np.where(along < border, HEAD, TAIL).astype(np.uint8) * organ
    phase, swing = random.uniform(0.0, 2 * np.pi), random.uniform(2.0, 4.0)
    vessel_left = -11.0 + swing * np.sin(up / 7.0 + phase)
    vessel_back = random.uniform(-6.0, 6.0) + swing * np.cos(up / 9.0 + phase)
    vessel = np.hypot(left - vessel_left, back - vessel_back) < random.uniform(2.0, 2.8)
    leaves[vessel & ~organ] = VESSEL
    return leaves


def _add_node(
    random: np.random.Generator, leaves: np.ndarray, place: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    """Write an ellipsoid of about 4.5 to 6.5 mm radius into background, beside the organ."""
    center = np.array([0.0, 2.0, 13.0]) + random.uniform(-4.0, 4.0, 3)
    radius = random.uniform(4.5, 6.5) * random.uniform(0.85, 1.15, 3)
    squared = sum(((axis - c) / r) ** 2 for axis, c, r in zip(place, center, radius, strict=True))
    leaves[(squared < 1.0) & (leaves == BACKGROUND_LEAF)] = NODE


def _appearance(
    random: np.random.Generator,
    leaves: np.ndarray,
    place: tuple[np.ndarray, np.ndarray, np.ndarray],
    spacing_mm: np.ndarray,
) -> np.ndarray:
    """Return the scan of an anatomy: int16 of about 0 to 1500."""
    shape = leaves.shape
    fine, broad = _field(random, shape, 0.7 / spacing_mm), _field(random, shape, 2.4 / spacing_mm)
    folds = _field(random, shape, 3.0 / spacing_mm)
    dark, light = random.uniform(0.32, 0.45), random.uniform(0.7, 0.85)
    organ = dark + random.uniform(0.45, 0.65) * (light - dark)
    image = np.where(folds > random.uniform(-0.2, 0.4), light, dark) + 0.03 * broad
    texture = random.uniform(0.07, 0.1)
    for brightness in (organ, organ, 1.05):
        center, radius = random.uniform(-20.0, 20.0, 3), random.uniform(3.0, 5.5)
        squared = sum((axis - c) ** 2 for axis, c in zip(place, center, strict=True))
        image = np.where((squared < radius**2) & (leaves == BACKGROUND_LEAF), brightness + texture * folds, image)
    image = np.where(leaves == HEAD, organ + texture * fine, image)
    image = np.where(leaves == TAIL, organ + texture * broad, image)
    image = np.where(leaves == VESSEL, 1.05, image)
    # Darker than any tissue, with the grain of the head.
    image = np.where(leaves == NODE, 0.18 + texture * fine, image)
    # Partial volume at the borders, then what coil, receiver and scanner add.
    image = gaussian_filter(image, 0.35 / spacing_mm * np.array([2.0, 1.0, 1.0]))
    slope = sum(random.uniform(-0.2, 0.2) * axis / 25.0 for axis in place)
    bias = np.exp(slope + random.uniform(-0.15, 0.15) * (place[0] ** 2 + place[2] ** 2) / 900.0)
    image = np.clip(image, 0.02, None) ** random.uniform(0.8, 1.25) * bias
    noise = random.uniform(0.012, 0.03) * random.normal(size=(2, *shape))
    magnitude = np.hypot(image + noise[0], noise[1])
    scan: np.ndarray = np.clip(random.uniform(500.0, 1000.0) * magnitude, 0, 32767).round().astype(np.int16)
    return scan


def _field(random: np.random.Generator, shape: tuple[int, ...], sigma: np.ndarray) -> np.ndarray:
    """Return smooth noise of mean 0 and deviation 1; ``sigma`` in voxels is half its grain."""
    field: np.ndarray = gaussian_filter(random.normal(size=shape).astype(np.float32), sigma, mode="wrap")
    field -= field.mean()
    field /= field.std()
    return field


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Return the rotation about an axis (Rodrigues' formula); ``angle`` in radians."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation: np.ndarray = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return rotation
