"""Small scenes made of numbers: volumes on odd, oblique, left-handed grids, segments, transforms."""

import gzip
import hashlib
from itertools import permutations, product

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from SemiSegLib.labels.scheme import Code, LabelScheme, Structure, Terminology

SCHEME = LabelScheme(
    name="phantom",
    structures=(
        Structure(name="organ", color=(0.8, 0.4, 0.2)),
        Structure(name="head", parent="organ", color=(0.9, 0.2, 0.2), aliases=("caput",)),
        Structure(name="tail", parent="organ", color=(0.2, 0.9, 0.2)),
        Structure(
            name="vessel",
            color=(0.2, 0.2, 0.9),
            terminology=Terminology(
                category=Code(scheme="SCT", value="123037004", meaning="Anatomical Structure"),
                type=Code(scheme="SCT", value="59820001", meaning="Blood vessel"),
            ),
        ),
    ),
)
SHAPE = (7, 9, 11)
ALL_TURNS = [(order, flips) for order in permutations(range(3)) for flips in product((1, -1), repeat=3)]


def rotation(generator):
    turned, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    return turned * np.sign(np.linalg.det(turned))


def matrix(generator, *, order=(0, 1, 2), flips=(1, 1, 1), spacing=(0.7, 0.8, 3.0)):
    """An oblique index-to-RAS matrix with permuted and flipped axes; an odd number of flips is left-handed."""
    axes = np.zeros((3, 3))
    for axis, (target, flip) in enumerate(zip(order, flips, strict=True)):
        axes[target, axis] = flip
    result = np.eye(4)
    result[:3, :3] = rotation(generator) @ axes * spacing
    result[:3, 3] = generator.normal(size=3) * 50
    return result


def to_vtk(values):
    result = vtk.vtkMatrix4x4()
    for row, column in product(range(4), repeat=2):
        result.SetElement(row, column, values[row, column])
    return result


def from_vtk(values):
    return np.array([[values.GetElement(row, column) for column in range(4)] for row in range(4)])


def a_volume(generator, ijk_to_ras=None, *, name="scan", shape=SHAPE):
    voxels = generator.integers(-100, 400, shape).astype(np.int16)
    where = np.eye(4) if ijk_to_ras is None else ijk_to_ras
    return slicer.util.addVolumeFromArray(voxels, ijkToRAS=where, name=name)


def a_segmentation(volume, masks, *, name="labels"):
    """A segmentation with one segment per mask; names are keys, IDs are 'id <name>'."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for segment_name, mask in masks.items():
        segment_id = node.GetSegmentation().AddEmptySegment(f"id {segment_name}", segment_name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, segment_id, volume)
    return node


def blobs(generator, shape=SHAPE):
    """Masks of head and tail, touching and ragged, and a vessel apart."""
    masks = {name: np.zeros(shape, dtype=bool) for name in ("head", "tail", "vessel")}
    masks["head"][2:5, 3:6, 2:6] = True
    masks["tail"][2:5, 3:6, 6:9] = True
    masks["vessel"][1:6, 7:9, 0:11] = True
    return {name: mask & (generator.random(shape) > 0.2) for name, mask in masks.items()}


def a_transform(values, *, name="moved", cls="vtkMRMLLinearTransformNode"):
    node = slicer.mrmlScene.AddNewNodeByClass(cls, name)
    if values is not None:
        node.SetMatrixTransformToParent(to_vtk(values))
    return node


def moved(*nodes, values):
    transform = a_transform(values)
    for node in nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def a_motion(generator):
    result = np.eye(4)
    result[:3, :3] = rotation(generator)
    result[:3, 3] = generator.normal(size=3) * 30
    return result


def digest(node):
    """Content of a volume, segmentation, transform, box or color table, and the moment of its last modification."""
    state = hashlib.sha256()
    # The first question for the transform finds its node, which counts as a modification.
    transform = node.GetTransformNodeID() if node.IsA("vtkMRMLTransformableNode") else None
    parts = [node.GetName(), transform, node.GetMTime()]
    if node.IsA("vtkMRMLLinearTransformNode"):
        matrix = vtk.vtkMatrix4x4()
        node.GetMatrixTransformToParent(matrix)
        parts.append([matrix.GetElement(row, column) for row in range(4) for column in range(4)])
    elif node.IsA("vtkMRMLMarkupsROINode"):
        parts += [node.GetCenter(), node.GetSize()]
    elif node.IsA("vtkMRMLColorTableNode"):
        parts += [node.GetColorName(index) for index in range(node.GetNumberOfColors())]
    elif node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        parts.append(segmentation.GetMTime())
        for index in range(segmentation.GetNumberOfSegments()):
            segment = segmentation.GetNthSegment(index)
            image = segment.GetRepresentation("Binary labelmap")
            parts += [segmentation.GetNthSegmentID(index), segment.GetName(), segment.GetColor(), segment.GetMTime()]
            parts += [segment.GetLabelValue(), image and image.GetMTime()]
            if image is not None and image.GetPointData().GetScalars() is not None:
                state.update(vtk_to_numpy(image.GetPointData().GetScalars()).tobytes())
    elif node.GetImageData() is not None:
        parts.append(node.GetImageData().GetMTime())
        state.update(slicer.util.arrayFromVolume(node).tobytes())
    state.update(repr(parts).encode())
    return state.hexdigest()


def write_segmentation_file(path, labels, geometry, names, *, states=None):
    """A ``.seg.nrrd`` as prediction writes it: one layer, gzip, LPS; names are value to segment name."""

    def vector(values):
        return "(" + ",".join(repr(float(value)) for value in values) + ")"

    depth, rows, columns = labels.shape
    affine = geometry.affine
    header = [
        "NRRD0004",
        "type: unsigned char",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {columns} {rows} {depth}",
        f"space directions: {vector(affine[:3, 2])} {vector(affine[:3, 1])} {vector(affine[:3, 0])}",
        "kinds: domain domain domain",
        "encoding: gzip",
        f"space origin: {vector(affine[:3, 3])}",
    ]
    for number, (value, name) in enumerate(names.items()):
        kind = f"99SEMISEG^{name.upper()}^{name}" if number else "SCT^64033007^Kidney"
        status = "flagged" if (states or {}).get(name) == "ambiguous" else "inprogress"
        entry = (
            "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~"
            f"{kind}~^^~Anatomic codes - DICOM master list~^^~^^"
        )
        header += [
            f"Segment{number}_ID:={name}",
            f"Segment{number}_Name:={name}",
            f"Segment{number}_Color:=0.5 0.25 {number / 4}",
            f"Segment{number}_LabelValue:={value}",
            f"Segment{number}_Layer:=0",
            f"Segment{number}_Extent:=0 {columns - 1} 0 {rows - 1} 0 {depth - 1}",
            f"Segment{number}_Tags:=TerminologyEntry:{entry}|SemiSeg.Superclass:organ|Segmentation.Status:{status}|"
            + (f"SemiSeg.State:{states[name]}|" if states and name in states else ""),
        ]
    header += [
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_SourceRepresentation:=Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset:=0 0 0",
    ]
    voxels = np.ascontiguousarray(labels, dtype=np.uint8).tobytes()
    path.write_bytes(("\n".join(header) + "\n\n").encode() + gzip.compress(voxels))
