"""What is chosen for applying models and looking at results: part of the parameter node."""

from __future__ import annotations

from typing import Any

_REVIEWED_ROLE = "SemiSeg.reviewed"


class ReviewParameters:
    """The choices of the section Review; ``StudyParameters`` keeps them in the parameter node."""

    @property
    def wantsUncertainty(self) -> bool:
        """Whether a map of uncertainty is made with each result."""
        return self._get("wantsUncertainty", True)

    @wantsUncertainty.setter
    def wantsUncertainty(self, value: bool) -> None:
        self._set("wantsUncertainty", bool(value))

    @property
    def wantsLargestPiece(self) -> bool:
        """Whether of each structure the largest piece alone is kept."""
        return self._get("wantsLargestPiece", False)

    @wantsLargestPiece.setter
    def wantsLargestPiece(self, value: bool) -> None:
        self._set("wantsLargestPiece", bool(value))

    @property
    def reviewed(self) -> Any:
        """Segmentation node of the result that is looked at, or None."""
        return self.node.GetNodeReference(_REVIEWED_ROLE)

    @reviewed.setter
    def reviewed(self, node: Any) -> None:
        self.node.SetNodeReferenceID(_REVIEWED_ROLE, node.GetID() if node is not None else None)
