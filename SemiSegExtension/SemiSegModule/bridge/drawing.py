"""What was drawn in a case, read from its nodes once, so that it can be worked on apart from the scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slicer.i18n import tr as _

from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, name_key
from SemiSegModule.bridge.copies import VoxelCopies
from SemiSegModule.bridge.geometry import Grid
from SemiSegModule.bridge.layers import Layer, SurfaceImages, readLayers
from SemiSegModule.bridge.region import PlacedRegion, readRegion
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, LEFT_OUT, SceneCase
from SemiSegModule.bridge.segments import segmentIds


@dataclass(frozen=True)
class Drawing:
    """What was drawn in a case, as it was when it was read: the scene may change while it is worked on.

    Attributes:
        caseId: for messages.
        name: of the segmentation node, for messages.
        segmentNames: segment ID to the name that a person sees.
        meanings: segment ID to structure name or region, for the segments that count.
        lookedFor: structures of which nothing more is to be found outside their segments.
        layers: copies of the label images.
        reference: world grid of the case's first volume.
        region: where the case was annotated, or None: everywhere, or where a segment of ``meanings`` says so.
        overlapRules: what a person has said of structures that exclude each other, by pair.
    """

    caseId: str
    name: str
    segmentNames: Mapping[str, str]
    meanings: Mapping[str, str]
    lookedFor: tuple[str, ...]
    layers: tuple[Layer, ...]
    reference: Grid
    region: PlacedRegion | None = None
    overlapRules: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The place of a finding."""
        return _("segmentation '{name}'").format(name=self.name)

    @property
    def place(self) -> str:
        """The place of an error."""
        return _("case '{case}', segmentation '{segmentation}'").format(case=self.caseId, segmentation=self.name)


def readDrawing(
    case: SceneCase,
    scheme: LabelScheme,
    reference: Grid,
    surfaces: SurfaceImages | None = None,
    copies: VoxelCopies | None = None,
) -> Drawing | None:
    """Return what was drawn in a case, or None if the case says nothing.

    Args:
        case: its segmentation node is only read.
        scheme: holds every structure that the case names.
        reference: world grid of the case's first volume.
        surfaces: closed surfaces that were turned into voxels already; the others are converted now.
        copies: label images that were copied already; the others are copied now.

    Raises:
        CaseError: a segment has no meaning yet, or the segmentation is under a transform that is not linear.
        LabelError: the case names a structure that the scheme does not have.
    """
    if case.segmentation is None:
        return None
    lookedFor = tuple(scheme.find(name).name for name in case.lookedFor if name_key(name) != BACKGROUND)
    meanings = checkedMeanings(case, scheme)
    if not meanings and not lookedFor:
        return None
    return Drawing(
        caseId=case.id,
        name=case.segmentation.GetName(),
        segmentNames=_segmentNames(case),
        meanings=meanings,
        lookedFor=lookedFor,
        layers=tuple(readLayers(case.segmentation, meanings, reference, surfaces, copies)),
        reference=reference,
        region=readRegion(case.region),
        overlapRules=dict(case.overlapRules),
    )


def checkedMeanings(case: SceneCase, scheme: LabelScheme) -> dict[str, str]:
    """Return segment ID to structure name or region for the segments of a case that count.

    Raises:
        CaseError: a segment has no meaning yet.
        LabelError: the case names a structure that the scheme does not have.
    """
    names = _segmentNames(case)
    open_ = [name for segmentId, name in names.items() if not case.meanings.get(segmentId)]
    if open_:
        raise CaseError(
            explain(
                _("nobody has said which structure these segments are: {segments}").format(segments=", ".join(open_)),
                where=_("case '{case}', segmentation '{segmentation}'").format(
                    case=case.id, segmentation=case.segmentation.GetName()
                ),
                remedy=_("choose the structure for each, or leave it out; structures are: {structures}").format(
                    structures=", ".join(s.name for s in scheme.structures)
                ),
            )
        )
    chosen = {i: case.meanings[i] for i in names if case.meanings[i] != LEFT_OUT}
    return {i: m if m == ANNOTATED_REGION else scheme.find(m).name for i, m in chosen.items()}


def _segmentNames(case: SceneCase) -> dict[str, str]:
    segmentation = case.segmentation.GetSegmentation()
    return {i: segmentation.GetSegment(i).GetName() for i in segmentIds(case.segmentation)}
