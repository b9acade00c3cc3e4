"""Why pip failed, from what it said: the package, the cause in plain words, and what to do."""

from __future__ import annotations

import re

from slicer.i18n import tr as _

from SemiSegLib.errors import DependencyError, explain

# First match wins: pip retries without network and then says that it found no version.
_DISK = re.compile(r"No space left on device|Errno 28\b|WinError 112\b|There is not enough space|Disk quota exceeded")
_OFFLINE = re.compile(
    r"NewConnectionError|NameResolutionError|Temporary failure in name resolution|getaddrinfo failed|ProxyError|"
    r"ConnectTimeoutError|ReadTimeoutError|Network is unreachable|Max retries exceeded|SSLError|Connection refused",
)
_CONFLICT = re.compile(r"ResolutionImpossible|conflicting dependencies|cannot install", re.IGNORECASE)
_RIGHTS = re.compile(r"Permission denied|Access is denied|WinError 5\b|Errno 13\b|Read-only file system|Errno 30\b")
_NOTHING_FITS = re.compile(r"No matching distribution found|Could not find a version that satisfies")
_PACKAGE = (
    re.compile(r"(?:No matching distribution found for|Could not find a version that satisfies the requirement) (\S+)"),
    re.compile(r"ERROR: Cannot install (.+?) because"),
    re.compile(r"Failed to build '?([\w.-]+)"),
)
_CLASHES = re.compile(r"^ +(.+ depends on .+|The user requested (?:\(constraint\) )?.+)$", re.MULTILINE)


def failure(output: str, names: list[str], log: str) -> DependencyError:
    """Return the error for a failed installation.

    Args:
        output: what pip said.
        names: what was asked for.
        log: where all of it can be read.
    """
    package = next((found.group(1) for rule in _PACKAGE if (found := rule.search(output))), ", ".join(names))
    cause, remedy = _causeAndRemedy(output)
    what = _("{package} could not be installed: {cause}").format(package=package, cause=cause)
    where = _("installation of packages; everything that was said is in {log}").format(log=log)
    return DependencyError(explain(what, where=where, remedy=remedy))


def _causeAndRemedy(output: str) -> tuple[str, str]:
    if _DISK.search(output):
        return (
            _("the disk is full"),
            _("make room on the disk that holds Slicer, and on the one with temporary files, then try again"),
        )
    if _OFFLINE.search(output):
        return (
            _("the Python Package Index cannot be reached"),
            _("check the network; behind a proxy, set the variable HTTPS_PROXY before Slicer is started"),
        )
    if _RIGHTS.search(output):
        return (
            _("Slicer's folder may not be written to"),
            _("install Slicer in a folder of your own, or ask whoever installed it to install the packages"),
        )
    if _CONFLICT.search(output):
        clashes = "; ".join(dict.fromkeys(line.strip() for line in _CLASHES.findall(output)))
        return (
            _("no version fits the packages that are there, and those are not replaced ({clashes})").format(
                clashes=clashes or _("pip does not say which")
            ),
            _("use a newer Slicer, or update the extension that installed the package that is named"),
        )
    if _NOTHING_FITS.search(output):
        return (
            _("there is no ready-made version of it for this Python and operating system"),
            _("use a newer Slicer, or one for a more common kind of computer"),
        )
    errors = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()
    return (
        errors[-1].removeprefix("ERROR: ") if errors else _("the installer ended without a word"),
        _("read the log; if it says nothing that helps, restart Slicer and try again"),
    )
