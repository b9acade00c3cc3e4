"""Label schemes as color tables of the scene, through the file format of Slicer's color tables."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import LabelError, explain
from SemiSegLib.labels.color_table import read_color_table, write_color_table
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, Structure, name_key

# Attribute of a color table node: structure to the whole it is part of, as JSON. Slicer's table has no tree.
PARENTS_ATTRIBUTE = "SemiSeg.Parents"


def schemeFromColorTable(node: Any) -> LabelScheme:
    """Return the scheme of a color table of the scene: names, colors, codes, and the tree if this module made it.

    Raises:
        LabelError: the table names no structure, or one twice.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "colors.csv"
        storage = slicer.vtkMRMLColorTableStorageNode()
        storage.SetFileName(str(path))
        if not storage.WriteData(node):
            what = _("it cannot be read as a color table")
            raise LabelError(explain(what, where=f"'{node.GetName()}'", remedy=_("choose a table with named colors")))
        scheme, _values = read_color_table(path)
    parents = json.loads(node.GetAttribute(PARENTS_ATTRIBUTE) or "{}")
    known = {name_key(s.name) for s in scheme.structures}

    def placed(structure: Structure) -> Structure:
        parent = parents.get(structure.name)
        if not parent or name_key(parent) not in known:
            return structure
        return Structure(name=structure.name, parent=parent, color=structure.color, terminology=structure.terminology)

    return LabelScheme(name=node.GetName(), structures=tuple(placed(s) for s in scheme.structures))


def colorTableFromScheme(scheme: LabelScheme) -> Any:
    """Return a new color table node of the scene with the structures of a scheme, and their tree as an attribute.

    Raises:
        LabelError: a name cannot be kept in a color table.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "colors.csv"
        write_color_table(scheme, path)
        name = slicer.mrmlScene.GenerateUniqueName(scheme.name)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
        # A storage node of its own: were it kept, saving the scene would ask for the file in the temporary folder.
        storage = slicer.vtkMRMLColorTableStorageNode()
        storage.SetFileName(str(path))
        isRead = storage.ReadData(node)
    if not isRead:
        slicer.mrmlScene.RemoveNode(node)
        raise LabelError(
            explain(
                _("Slicer cannot hold it as a color table"), where=scheme.name, remedy=_("save it as a file instead")
            )
        )
    node.SetName(name)
    node.SetAttribute("Category", "SemiSeg")
    # Color tables are hidden unless they say otherwise; this one is to be chosen in other modules.
    node.SetHideFromEditors(False)
    parents = {s.name: s.parent for s in scheme.structures if s.parent and name_key(s.name) != BACKGROUND}
    node.SetAttribute(PARENTS_ATTRIBUTE, json.dumps(parents, ensure_ascii=False))
    return node


def colorTables() -> list[Any]:
    """Return the color tables of the scene that a person or a file brought in: Slicer's own name no structures.

    Hidden ones are left out: a module made them to show something, as this one does for uncertainty.
    """
    nodes = slicer.util.getNodesByClass("vtkMRMLColorTableNode")
    own = (slicer.vtkMRMLColorTableNode.User, slicer.vtkMRMLColorTableNode.File)
    return [n for n in nodes if n.GetType() in own and not n.GetSingletonTag() and not n.GetHideFromEditors()]
