"""What a worker leaves of a job that applies a model: segmentations, uncertainty maps, reviews."""

import json

import numpy as np

from SemiSegLib.cases.volume import Volume, write_volume
from SemiSegLib.runs.review import Review, write_review
from SemiSegModule.bridge.geometry import Grid, toGeometry
from Testing.bridge import scenes

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NAMES = {1: "head", 2: "tail", 3: "vessel"}


def write_results(job, *, places=None, scores=None, peak=0.9, states=None, shift=0):
    """Write the results of every scan of a job.

    Args:
        job: its folder.
        places: number of a scan to the voxel (i, j, k) of the largest doubt; (3, 2, 1) if it is not named.
        scores: number of a scan to its score; 0.5 if it is not named.
        peak: uncertainty at voxel (3, 2, 1); 0 elsewhere.
        states: name of a structure to what is known of it.
        shift: voxels by which the structures lie further along the first axis.
    """
    scene = json.loads((job.path / "scene.json").read_text())
    for number, case in enumerate(job.job.cases):
        matrix, shape = np.array(scene[case.id]["matrix"]), tuple(scene[case.id]["shape"])
        geometry = toGeometry(Grid(matrix, shape))
        labels = np.zeros(shape, np.uint8)
        labels[2:4, 3:5, 2 + shift : 5 + shift] = 1
        labels[2:4, 3:5, 6 + shift : 8 + shift] = 2
        job.result_path(case).parent.mkdir(exist_ok=True)
        scenes.write_segmentation_file(job.result_path(case), labels, geometry, NAMES, states=states)
        doubt = np.zeros(shape, np.float32)
        doubt[1, 2, 3] = peak
        write_volume(Volume(doubt, geometry), job.uncertainty_path(case))
        index = (places or {}).get(number, (3, 2, 1))
        place = tuple(float(part) for part in (LPS @ matrix @ np.append(index, 1.0))[:3])
        score = (scores or {}).get(number, 0.5)
        review = Review(score=score, reason=f"reason {number}: a; b, c", place_lps_mm=place, uncertain_ml=0.1)
        write_review(review, job.review_path(case))
