"""The SampleData module: data sets that modules register; nothing is fetched.

As in Slicer, only the button of a data set asks the downloader that its module brought; the calls of the logic fetch
files, whatever was registered.
"""

import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import slicer
from PySide6 import QtWidgets


@dataclass
class SampleDataSource:
    """One registered data set, with the names of Slicer's class."""

    sampleName: str | None = None
    sampleDescription: str | None = None
    uris: Any = None
    fileNames: Any = None
    nodeNames: Any = None
    checksums: Any = None
    loadFiles: Any = None
    customDownloader: Callable[["SampleDataSource"], Any] | None = None
    thumbnailFileName: str | None = None
    loadFileType: Any = None
    loadFileProperties: dict[str, Any] = field(default_factory=dict)


class SampleDataLogic:
    """Registers data sets by category."""

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileType: Any = None,
        loadFiles: Any = None,
        loadFileProperties: dict[str, Any] | None = None,
        checksums: Any = None,
        **unknown: Any,
    ) -> None:
        """Add a data set to a category."""
        if unknown:
            raise TypeError(f"registerCustomSampleDataSource() has no argument {', '.join(unknown)}")
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            checksums=checksums,
            loadFiles=loadFiles,
            customDownloader=customDownloader,
            thumbnailFileName=thumbnailFileName,
            loadFileType=loadFileType,
            loadFileProperties=loadFileProperties or {},
        )
        slicer.modules.sampleDataSources.setdefault(category, []).append(source)

    def sourceForSampleName(self, sampleName: str) -> SampleDataSource | None:
        """Return a data set by name, None if there is none."""
        for sources in slicer.modules.sampleDataSources.values():
            for source in sources:
                if source.sampleName == sampleName:
                    return source
        return None

    def downloadSamples(self, sampleName: str) -> list[Any]:
        """Load a data set into the scene and return its nodes."""
        source = self.sourceForSampleName(sampleName)
        return [] if source is None else self.downloadFromSource(source)

    def downloadSample(self, sampleName: str) -> Any:
        """Load a data set into the scene and return its first node."""
        return next(iter(self.downloadSamples(sampleName)), None)

    def downloadFromSource(self, source: SampleDataSource) -> list[Any]:
        """Fetch the files of a data set, which Slicer does for those that bring a downloader, too."""
        raise NotImplementedError("the test host downloads nothing")


class SampleDataPanel(QtWidgets.QWidget):
    """The module's panel: below each category a button for each data set, named as in Slicer."""

    def __init__(self) -> None:
        super().__init__()
        layout = QtWidgets.QVBoxLayout(self)
        for category, sources in slicer.modules.sampleDataSources.items():
            box = QtWidgets.QGroupBox(category)
            box.setObjectName(f"{category}CollapsibleGroupBox")
            buttons = QtWidgets.QVBoxLayout(box)
            for source in sources:
                name = source.sampleDescription or _first(source.nodeNames or source.sampleName)
                button = QtWidgets.QToolButton()
                button.setText(name)
                button.setObjectName(f"{name}PushButton")
                button.clicked.connect(lambda _checked=False, name=source.sampleName: clickSample(name))
                buttons.addWidget(button)
            layout.addWidget(box)
        layout.addStretch(1)


def _first(names: Any) -> str:
    """Return the first of several names, or the only one, as Slicer's registration takes both."""
    return str(names if isinstance(names, str) else names[0])


def clickSample(sampleName: str) -> Any:
    """Do what the button of a data set in the panel of Sample Data does; returns what its downloader does."""
    source = SampleDataLogic().sourceForSampleName(sampleName)
    if source is None or source.customDownloader is None:
        raise LookupError(f"no data set '{sampleName}' with a downloader of its own is registered")
    return source.customDownloader(source)


def make_module() -> types.ModuleType:
    """Return what `import SampleData` gives."""
    slicer.modules.sampleDataSources = {}
    module = types.ModuleType("SampleData", __doc__)
    module.SampleDataLogic = SampleDataLogic  # type: ignore[attr-defined]
    module.SampleDataSource = SampleDataSource  # type: ignore[attr-defined]
    return module
