"""A model on labeled cases: what it scores on each, and the picture of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.reading import read_codes, read_images
from SemiSegLib.cases.volume import Volume
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.evaluation.metrics import CaseScore, score_case
from SemiSegLib.evaluation.pictures import CaseView
from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.prediction.predictor import Prediction, Predictor


@dataclass(frozen=True)
class JudgedCase:
    """What a model made of a case.

    Attributes:
        score: the scores.
        image: first channel of the study.
        prediction: on the grid of the image.
    """

    score: CaseScore
    image: Volume
    prediction: Prediction


class CaseJudge:
    """Applies a model to the cases of a study, one at a time, and keeps none of them.

    Args:
        predictor: the model.
        dataset: the study; its scheme names the structures that are judged.
        mode: how scores are computed, see ``evaluation.modes``.

    Raises:
        CaseError: the model's leaves, or its channels, are not those of the study; a single channel needs no name.
    """

    def __init__(self, predictor: Predictor, dataset: Dataset, *, mode: str = "strict") -> None:
        known, wanted = predictor.model.study.scheme.leaf_names, dataset.scheme.leaf_names
        if known != wanted:
            raise CaseError(
                explain(
                    f"the model knows {', '.join(known)}, the study has {', '.join(wanted)}",
                    where=f"dataset '{dataset.name}'",
                    remedy="evaluate a model on a study with the structures that it was trained on",
                )
            )
        roles = [channel.role for channel in predictor.model.study.plan.channels]
        if len(roles) == len(dataset.channels) == 1:
            roles = list(dataset.channels)
        if set(roles) != set(dataset.channels):
            raise CaseError(
                explain(
                    f"the model's channels are {', '.join(roles)}, those of the study {', '.join(dataset.channels)}",
                    where=f"dataset '{dataset.name}'",
                    remedy="evaluate a model on a study with the channels that it was trained on, under the same names",
                )
            )
        # The study may list its channels in another order than the one the model was trained on.
        self._order = [dataset.channels.index(role) for role in roles]
        self.predictor = predictor
        self.dataset = dataset
        self.mode = mode

    def judge(self, case: Case) -> JudgedCase:
        """Return what the model makes of a case, and its scores.

        Raises:
            CaseError: the case has no annotation, or a file of it cannot be used.
        """
        image, prediction, codes, table = self._read(_labeled(case))
        return JudgedCase(self._score(case, prediction, codes, table), image, prediction)

    def judge_both(self, case: Case) -> tuple[JudgedCase, JudgedCase]:
        """Return what ``judge`` does, and the same with one piece of each structure; the model is applied once.

        Raises:
            CaseError: as ``judge`` does.
        """
        image, prediction, codes, table = self._read(_labeled(case))
        pieces = prediction.largest_components()
        return (
            JudgedCase(self._score(case, prediction, codes, table), image, prediction),
            JudgedCase(self._score(case, pieces, codes, table), image, pieces),
        )

    def view(self, case_id: str) -> CaseView:
        """Return the picture of a case: its first channel, the reference and the prediction."""
        image, prediction, codes, table = self._read(self.dataset.case(case_id))
        return CaseView(case_id, image, codes, table, (("prediction", prediction.leaves.voxels),))

    def _score(self, case: Case, prediction: Prediction, codes: np.ndarray, table: LabelSetTable) -> CaseScore:
        return score_case(case.id, prediction.leaves, codes, table, self.dataset.scheme, mode=self.mode)

    def _read(self, case: Case) -> tuple[Volume, Prediction, np.ndarray, LabelSetTable]:
        images = read_images(self.dataset, case)
        codes, table = read_codes(self.dataset, case, images[0].geometry)
        return images[0], self.predictor.predict([images[n] for n in self._order]), codes, table


def _labeled(case: Case) -> Case:
    if case.annotation is None:
        raise CaseError(
            explain("there is nothing to compare with", where=f"case '{case.id}'", remedy="leave the case out")
        )
    return case
