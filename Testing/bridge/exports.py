"""One case of the scene as the export writes it, and what the files say of each voxel."""

import numpy as np

from SemiSegLib.cases.volume import read_labels, read_volume
from SemiSegModule.bridge.scene_case import SceneCase, suggestMeanings
from SemiSegModule.bridge.study_export import exportStudy
from Testing.bridge import scenes

SEARCHED = ("head", "tail", "vessel")


def a_case(volume, segmentation=None, **changes):
    meanings = suggestMeanings(segmentation, scenes.SCHEME) if segmentation is not None else {}
    values = {"id": "scan", "volumes": {"image": volume}, "segmentation": segmentation, "meanings": meanings}
    return SceneCase(**{**values, "lookedFor": SEARCHED if segmentation is not None else (), **changes})


def exported(folder, case):
    """Image, label image, and structure names of each voxel as the files say them."""
    study = exportStudy(folder, [case], scenes.SCHEME, name="study")
    written = study.dataset.cases[0]
    labels = None if written.annotation is None else read_labels(folder / written.annotation.file)
    return study, read_volume(folder / written.images["image"]), labels


def names_of(study, labels):
    values = study.dataset.cases[0].annotation.values
    return np.vectorize(lambda value: "+".join(values[int(value)]))(labels.voxels)
