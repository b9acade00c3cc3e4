"""Label schemes of tests: an organ of two parts, alone and beside a vessel."""

from SemiSegLib.labels.scheme import LabelScheme, Structure

_ORGAN = (
    Structure(name="organ"),
    Structure(name="head", parent="organ"),
    Structure(name="tail", parent="organ"),
)
ORGAN = LabelScheme(name="organ", structures=_ORGAN)
ORGAN_AND_VESSEL = LabelScheme(name="organ and vessel", structures=(*_ORGAN, Structure(name="vessel")))
