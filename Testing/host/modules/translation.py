"""slicer.i18n: texts in the language of the application; the host speaks none but the original."""

import qt


def translate(context, text):
    """Return a text in the application's language."""
    return qt.QCoreApplication.translate(context, text)


def tr(text):
    """Return a text in the application's language.

    Raises:
        TypeError: no string; Slicer would fail at that point, too.
    """
    if not isinstance(text, str):
        raise TypeError(f"tr() takes a string, got {text!r}")
    return translate("SemiSeg", text)
