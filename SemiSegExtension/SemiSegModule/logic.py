"""What the panel does, as calls: from the scene to a study, to a training, to results in the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from slicer.i18n import tr as _

from SemiSegLib.errors import ConfigError, did_you_mean, explain
from SemiSegLib.labels.color_table import read_color_table
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.labels.schemes import fitting_scheme, read_scheme, ready_scheme, ready_schemes
from SemiSegModule.bridge.layers import SurfaceImages
from SemiSegModule.bridge.pairing import findCases, segmentations
from SemiSegModule.bridge.scene_case import SceneCase, schemeFromSegments
from SemiSegModule.bridge.study_export import StudyExport, exportStudy
from SemiSegModule.logic_cases import CasesLogic
from SemiSegModule.logic_console import ConsoleLogic
from SemiSegModule.logic_labels import LabelsLogic
from SemiSegModule.logic_review import ReviewLogic
from SemiSegModule.logic_training import TrainingLogic
from SemiSegModule.waiting import Waiting


class StudyLogic(CasesLogic, LabelsLogic, TrainingLogic, ReviewLogic, ConsoleLogic):
    """Everything without widgets; ``SemiSegLogic`` is this class as Slicer's module logic."""

    def readySchemes(self) -> tuple[str, ...]:
        """Return the names of the schemes that come with the module."""
        return ready_schemes()

    def fittingScheme(self, scheme: LabelScheme) -> str | None:
        """Return the name of the ready scheme that knows what is part of what in a flat one; None if there is none."""
        return fitting_scheme(scheme)

    def readScheme(self, source: str | Path | None = None, cases: Sequence[SceneCase] = ()) -> LabelScheme:
        """Return a label scheme.

        Args:
            source: name of a ready scheme, path of a scheme (.json) or color table (.csv), or None to build one
                from the segments of the scene, with superclasses by their tag.
            cases: without a source, those whose segments count, but for segments that their meanings call no
                structure; every segment of the scene if there are none.

        Raises:
            LabelError: the scene has no segment, or the file describes no scheme.
            ConfigError: there is no such scheme or file, or it cannot be read.
        """
        if source is None and cases:
            drawn = [case for case in cases if case.segmentation is not None]
            return schemeFromSegments([case.segmentation for case in drawn], "Scene", [c.meanings for c in drawn])
        if source is None:
            return schemeFromSegments(segmentations(withResults=False), "Scene")
        if str(source) in ready_schemes():
            return ready_scheme(str(source))
        path = Path(source)
        if not path.is_file():
            remedy = did_you_mean(str(source), ready_schemes())
            raise ConfigError(
                explain(
                    _("'{source}' is neither a ready scheme nor a file").format(source=source),
                    where=_("scheme"),
                    remedy=remedy,
                )
            )
        try:
            return read_color_table(path)[0] if path.suffix.lower() == ".csv" else read_scheme(path)
        except OSError as error:
            raise ConfigError(
                explain(
                    _("the file cannot be read: {reason}").format(reason=error.strerror or error),
                    where=str(path),
                    remedy=_("check that its drive is there and that you may read it, or choose another scheme"),
                )
            ) from error

    def casesFromScene(self, scheme: LabelScheme | None = None, channel: str = "image") -> list[SceneCase]:
        """Return every scalar volume of the scene as a case, with the segmentation that belongs to it.

        Change a case by ``dataclasses.replace(case, lookedFor=("liver",))``; segments whose meaning is "" must be
        given one, or ``LEFT_OUT``, before the study can be exported.
        """
        return findCases(scheme or self.readScheme(), channel)

    def exportStudy(
        self,
        folder: str | Path,
        cases: Sequence[SceneCase],
        scheme: LabelScheme,
        *,
        name: str = "",
        modality: Mapping[str, str] | None = None,
        surfaces: SurfaceImages | None = None,
        waiting: Waiting | None = None,
    ) -> StudyExport:
        """Write cases of the scene as a dataset and return where, with what the user should know.

        Args:
            folder: of the study; made if missing.
            cases: all with the same channel roles in the same order.
            scheme: holds every structure that a case names.
            name: name of the study; the folder's if empty.
            modality: channel role to "CT" or "MR"; guessed from the scans if None.
            surfaces: closed surfaces that were turned into voxels already, and keeps the others; None keeps nothing.
            waiting: is told how far it is; without it the call returns when everything is written.

        Raises:
            CaseError: a case cannot be written; names case and remedy.
            LabelError: a case names a structure that the scheme does not have.
        """
        name = name or Path(folder).name
        return exportStudy(
            Path(folder), cases, scheme, name=name, modality=modality, surfaces=surfaces, waiting=waiting
        )
