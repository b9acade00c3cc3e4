"""Hands for trees of structures: find, click and tick an entry by its name."""

from contextlib import contextmanager

from PySide6 import QtWidgets

from Testing.host.interaction import click_index, process_events, tick_index


def tree_items(tree):
    """Every item of a tree by the text of its first column."""
    iterator, found = QtWidgets.QTreeWidgetItemIterator(tree), {}
    while iterator.value() is not None:
        found[iterator.value().text(0)] = iterator.value()
        iterator += 1
    return found


def tree_of(tree):
    """Name to the name of the whole it is shown in, "" on its own."""
    return {name: item.parent().text(0) if item.parent() else "" for name, item in tree_items(tree).items()}


def click_item(tree, name):
    click_index(tree, tree.indexFromItem(tree_items(tree)[name]))


def tick_item(tree, name):
    tick_index(tree, tree.indexFromItem(tree_items(tree)[name]))


def ticks(tree):
    """Name to "yes", "no" or "some"."""
    words = {0: "no", 1: "some", 2: "yes"}
    return {name: words[int(item.checkState(0))] for name, item in tree_items(tree).items()}


@contextmanager
def alone(panel, section):
    """Gives a section as it looks where there is room, as in Slicer, whose panel scrolls: the others are closed."""
    others = [w for w in panel.form.children() if hasattr(w, "collapsed") and w is not section and not w.collapsed]
    for other in others:
        other.collapsed = True
    process_events()
    yield section
    for other in others:
        other.collapsed = False
    process_events()
