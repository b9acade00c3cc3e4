"""A small study and batches for the tests of methods: every structure can be seen in the image."""

import functools
from dataclasses import replace

import torch
from monai.networks import nets
from torch import nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.distance import SIGNED_DISTANCE, SIGNED_DISTANCE_KNOWN, signed_distance, structure_members
from SemiSegLib.labels.label_set import LabelSetTable, Regime
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import METHODS, build_method, resolve_options
from SemiSegLib.methods.method import Progress, Study
from SemiSegLib.networks import transformers
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan

SCHEME = LabelScheme(
    name="tiny",
    structures=(
        Structure(name="organ"),
        Structure(name="head", parent="organ"),
        Structure(name="tail", parent="organ"),
        Structure(name="vessel"),
    ),
)
LEAVES = SCHEME.leaf_names
BACKGROUND, HEAD, TAIL, VESSEL = range(4)
TABLE = LabelSetTable.of(
    len(LEAVES),
    [*(frozenset([leaf]) for leaf in range(4)), frozenset([HEAD, TAIL]), frozenset([BACKGROUND, HEAD, TAIL])],
)
# What the drawer of each regime writes for each true leaf.
MEANING = {
    Regime.FULL: [[leaf] for leaf in range(4)],
    Regime.COARSE: [[BACKGROUND], [HEAD, TAIL], [HEAD, TAIL], [VESSEL]],
    Regime.PARTIAL: [[BACKGROUND, HEAD, TAIL]] * 3 + [[VESSEL]],
    Regime.NONE: [range(4)] * 4,
}
ROWS = {Regime.FULL: 2, Regime.COARSE: 2, Regime.PARTIAL: 1, Regime.NONE: 1}
SIZE = 8


def shape(dimensions):
    return {
        "features": (8, 12),
        "strides": ((2,) * dimensions,),
        "kernels": ((3,) * dimensions,) * 2,
        "stem_stride": (1,) * dimensions,
    }


class Presence(nn.Module):
    """Stands in for a trained presence network: every ROI is absent, uncertain or present, in turn over the rows."""

    def __init__(self, scheme=SCHEME, told=(0.05, 0.5, 0.95)):
        super().__init__()
        self.count = len(RoiTable.of(scheme))
        self.told = nn.Parameter(torch.tensor(told))

    def forward(self, image):
        rows, rois = torch.arange(len(image)), torch.arange(self.count)
        return self.told[(rows[:, None] + rois) % len(self.told)]


def embeddings(scheme=SCHEME):
    """Rows for the ROIs as a text encoder would give them."""
    return torch.randn(len(RoiTable.of(scheme)), 24, generator=torch.Generator().manual_seed(3))


def study(dimensions=3, scheme=SCHEME, **network):
    plan = Plan(
        dimensions=dimensions,
        channels=(ChannelPlan(role="t1"), ChannelPlan(role="t2")),
        axis_order=(0, 1, 2),
        spacing_mm=(1.0, 1.0, 1.0),
        patch=(SIZE,) * dimensions,
        batch=sum(ROWS.values()),
        network=NetworkPlan(**{**shape(dimensions), **network}),
    )
    return Study(scheme=scheme, plan=plan, presence=Presence(scheme), embeddings=embeddings(scheme))


def method(name, dimensions=3, *, seed=0, preset=None, options=None, **network):
    torch.manual_seed(seed)
    return build_method(name, study(dimensions, **network), resolve_options(card_of(name), preset, options or {}))


def drawn(scheme):
    """The table of a scheme's label sets, and what the drawer of each regime writes for each true leaf.

    Partial: the last superclass alone was drawn.
    """
    count, pi = len(scheme.leaf_names), scheme.superclass_of_leaf
    inside = [[other for other in range(count) if pi[other] == pi[leaf]] for leaf in range(count)]
    last = max(pi)
    rest = [leaf for leaf in range(count) if pi[leaf] != last]
    meaning = {
        Regime.FULL: [[leaf] for leaf in range(count)],
        Regime.COARSE: inside,
        Regime.PARTIAL: [inside[leaf] if pi[leaf] == last else rest for leaf in range(count)],
        Regime.NONE: [range(count)] * count,
    }
    return LabelSetTable.of(count, [frozenset(leaves) for said in meaning.values() for leaves in said]), meaning


def batch(dimensions=3, *, rows=None, leaves=range(4), seed=0, maps=(), scheme=SCHEME):
    """Rows of the regimes, their true leaves in blocks that the first channel shows; and the true leaves."""
    table, meaning = (TABLE, MEANING) if scheme is SCHEME else drawn(scheme)
    rows = {regime: (rows or ROWS).get(regime, 0) for regime in Regime}
    draw = torch.Generator().manual_seed(seed)
    count, size = sum(rows.values()), (SIZE,) * dimensions
    coarse_grid = torch.randint(0, len(leaves), (count, *(SIZE // 4,) * dimensions), generator=draw)
    truth = torch.tensor(list(leaves))[coarse_grid]
    for axis in range(1, dimensions + 1):
        truth = truth.repeat_interleave(4, dim=axis)
    image = torch.randn(count, 2, *size, generator=draw) * 0.1
    image[:, 0] += truth.float() - 1.5
    codes, slices, start = torch.zeros_like(truth), {}, 0
    for regime, number in rows.items():
        slices[regime] = slice(start, start + number)
        start += number
        lookup = torch.tensor([table.code(frozenset(leaf_set)) for leaf_set in meaning[regime]])
        codes[slices[regime]] = lookup[truth[slices[regime]]]
    made = Batch(
        image=image,
        codes=codes,
        label_sets=torch.from_numpy(table.array.copy()),
        rows=slices,
        case_ids=tuple(f"case_{i}" for i in range(count)),
        maps={},
    )
    if SIGNED_DISTANCE in maps:
        made = replace(made, maps=distances(truth, codes, scheme, table))
    return made, truth


def distances(truth, codes, scheme=SCHEME, table=TABLE):
    """The signed distances of the true leaves, in voxels of 1 mm, where the codes of a whole row tell the structure."""
    members = structure_members(scheme)
    told = torch.from_numpy(table.roi_targets(members)[1])
    known = torch.zeros(len(truth), len(members), dtype=torch.bool)
    found = torch.zeros(len(truth), len(members), *truth.shape[1:])
    for row, leaves in enumerate(truth):
        known[row] = told[codes[row].unique()].all(0)
        for structure in torch.nonzero(known[row]).flatten().tolist():
            mask = members[structure][leaves.numpy()]
            volume = mask.reshape((1, *mask.shape)[-3:])
            found[row, structure] = torch.from_numpy(signed_distance(volume, (1.0,) * 3)).reshape(mask.shape)
    return {SIGNED_DISTANCE: found, SIGNED_DISTANCE_KNOWN: known}


def batch_for(name, dimensions=3, **more):
    return batch(dimensions, maps=card_of(name).maps, **more)


def without_labels(made, *regimes):
    """The same batch with noise for an image and no label in the rows of some regimes."""
    image, codes = made.image.clone(), made.codes.clone()
    maps = {name: value.clone() for name, value in made.maps.items()}
    for regime in regimes:
        image[made.rows[regime]] = 5.0
        codes[made.rows[regime]] = 0
        for value in maps.values():
            value[made.rows[regime]] = 0
    return replace(made, image=image, codes=codes, maps=maps)


def small_unetr(monkeypatch):
    """Let UNETR have its 12 layers of 16 instead of 768 numbers a token."""
    small = functools.partial(nets.UNETR, hidden_size=16, mlp_dim=24, num_heads=2)
    monkeypatch.setattr(transformers, "nets", type("Nets", (), {"UNETR": small, "SwinUNETR": nets.SwinUNETR}))
    monkeypatch.setattr(transformers, "HIDDEN", 16)


def optimizers(built, learning_rate=0.01):
    """Adam for every group, with the learning rate that the method wants for it, if it wants one."""
    own = {name: settings.learning_rate for name, settings in built.group_settings().items()}
    groups = built.parameter_groups().items()
    return {name: torch.optim.Adam(group, lr=own.get(name) or learning_rate) for name, group in groups}


def step(built, made, optimizer_of, number, total):
    """One training step as the trainer does it; returns what was yielded."""
    progress, yielded = Progress(number, number / total), []
    for terms in built.losses(made, progress):
        yielded.append(terms)
        terms.total().backward()
    for optimizer in optimizer_of.values():
        optimizer.step()
        optimizer.zero_grad()
    built.after_step(Progress(number + 1, (number + 1) / total))
    return yielded


def all_methods():
    return list(METHODS)
