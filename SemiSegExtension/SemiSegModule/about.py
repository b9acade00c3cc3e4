"""What Slicer's Help & Acknowledgement section says of the module."""

from __future__ import annotations

from slicer.i18n import tr as _

HOMEPAGE = "https://github.com/SemiSeg/SlicerSemiSeg"
# The four papers that the methods begin with; those of all methods are in their documentation.
PAPERS = (
    ("Dai, Lei, Zhang", "Efficient Subclass Segmentation in Medical Images"),
    (
        "Luque, Ottesen, Bj\u00f8rnerud, Emblem, MacIntosh",
        "Reducing Annotator's Burden: Cross-Pseudo Supervision for Brain Tumor Segmentation",
    ),
    (
        "Zhao, Ouyang, Zhang, Xue, Shen",
        "Exploiting Latent Classes for Medical Image Segmentation from Partially Labeled Datasets",
    ),
    ("Zhang, Zhang", "Dual-Task Mutual Learning for Semi-Supervised Medical Image Segmentation"),
)


def helpText() -> str:
    """Return what the module is for and where more is written, as HTML."""
    text = _(
        "Train a segmentation model from few fine labels and many coarse, partial or missing ones, and apply it "
        "to further scans. Training runs in the background and survives Slicer. A first study to try is in the "
        "module Sample Data, category SemiSeg."
    )
    more = _("For more information see the {link}. Questions and faults: {issues}.").format(
        link=f'<a href="{HOMEPAGE}#a-first-training">{_("tutorial and documentation")}</a>',
        issues=f'<a href="{HOMEPAGE}/issues">{_("issue tracker")}</a>',
    )
    return f"<p>{text}</p><p>{more}</p>"


def acknowledgementText() -> str:
    """Return what it is built on, the papers, and how to cite, as HTML."""
    papers = "".join(f"<li>{authors}: <i>{title}</i></li>" for authors, title in PAPERS)
    built = _("Built on PyTorch, MONAI and SimpleITK. The methods follow, first of all, these papers:")
    cite = _("How to cite: {link}, and the paper of the method that you used; the panel names it.").format(
        link=f'<a href="{HOMEPAGE}#how-to-cite">{_("SemiSeg")}</a>'
    )
    notice = _("Results must be reviewed by a qualified person; the module is for research.")
    return f"<p>{built}</p><ul>{papers}</ul><p>{cite}</p><p>{notice}</p>"
