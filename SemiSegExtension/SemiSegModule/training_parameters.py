"""What is chosen for the next training: part of the parameter node."""

from __future__ import annotations

from typing import Any


class TrainingParameters:
    """The choices of the section Training; ``StudyParameters`` keeps them in the parameter node."""

    @property
    def method(self) -> str:
        """Name of the chosen method; the recommended one if empty."""
        return self._get("method", "")

    @method.setter
    def method(self, value: str) -> None:
        self._set("method", value)

    @property
    def preset(self) -> str:
        """Name of a preset of the chosen method; its own if empty."""
        return self._get("preset", "")

    @preset.setter
    def preset(self, value: str) -> None:
        self._set("preset", value)

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Method name to the options that a person has set otherwise than the preset."""
        return self._get("options", {})

    @options.setter
    def options(self, value: dict[str, dict[str, Any]]) -> None:
        self._set("options", value)

    @property
    def minutes(self) -> int:
        """Time budget of a training."""
        return self._get("minutes", 30)

    @minutes.setter
    def minutes(self, value: int) -> None:
        self._set("minutes", int(value))

    @property
    def device(self) -> str:
        return self._get("device", "auto")

    @device.setter
    def device(self, value: str) -> None:
        self._set("device", value)

    @property
    def warmStart(self) -> str:
        """Model file to go on from; a new model if empty."""
        return self._get("warmStart", "")

    @warmStart.setter
    def warmStart(self, value: str) -> None:
        self._set("warmStart", str(value))

    @property
    def embeddingFile(self) -> str:
        """File with a vector for each structure, for methods that take one; empty if none was chosen."""
        return self._get("embeddingFile", "")

    @embeddingFile.setter
    def embeddingFile(self, value: str) -> None:
        self._set("embeddingFile", str(value))

    @property
    def fetchesEncoder(self) -> bool:
        """Whether the text encoder may be fetched from the internet."""
        return self._get("fetchesEncoder", False)

    @fetchesEncoder.setter
    def fetchesEncoder(self, value: bool) -> None:
        self._set("fetchesEncoder", bool(value))

    @property
    def withBaseline(self) -> bool:
        """Whether a training on the fine labels alone is queued after each training."""
        return self._get("withBaseline", False)

    @withBaseline.setter
    def withBaseline(self, value: bool) -> None:
        self._set("withBaseline", bool(value))

    @property
    def showsPreview(self) -> bool:
        """Whether the scene shows what the model predicts while it trains."""
        return self._get("showsPreview", False)

    @showsPreview.setter
    def showsPreview(self, value: bool) -> None:
        self._set("showsPreview", bool(value))

    @property
    def runFolder(self) -> str:
        """Path of the run that is shown, empty if none."""
        return self._get("runFolder", "")

    @runFolder.setter
    def runFolder(self, value: str) -> None:
        self._set("runFolder", str(value))

    @property
    def modelNames(self) -> dict[str, dict[str, Any]]:
        """Model file to ``schemeBase`` and ``schemeSteps`` as they were when its training began."""
        return self._get("modelNames", {})

    @modelNames.setter
    def modelNames(self, value: dict[str, dict[str, Any]]) -> None:
        self._set("modelNames", value)
