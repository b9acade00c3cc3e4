"""Run by Slicer's Python beside Slicer: what would pip install, and how much would be downloaded? Changes nothing.

    PythonSlicer lookup.py ANSWER.json pip install REQUIREMENT... [OPTION...]

Needs the standard library only. Exits with pip's code; the answer is written if pip found versions that fit.
"""

import json
import os
import runpy
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SIZE_SECONDS = 5


def main(arguments):
    """Ask pip and write ``{"changes": [{"name":, "version":, "bytes": number or null}]}``; return its exit code."""
    answer, module, command, *rest = arguments
    report = Path(answer).with_suffix(".report")
    code = run(module, [command, "--dry-run", "--report", str(report), *rest])
    if code == 0:
        items = json.loads(report.read_text(encoding="utf-8"))["install"]
        urls = [item["download_info"]["url"] for item in items]
        with ThreadPoolExecutor(max_workers=8) as threads:
            sizes = list(threads.map(size, urls))
        changes = [
            {"name": item["metadata"]["name"], "version": item["metadata"]["version"], "bytes": count}
            for item, count in zip(items, sizes, strict=True)
        ]
        Path(answer).write_text(json.dumps({"changes": changes}), encoding="utf-8")
    return code


def run(module, arguments):
    """Run a module as ``python -m`` does, in this process, and return its exit code."""
    sys.argv = [module, *arguments]
    # The folder of this script is no place to find packages in.
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def size(url):
    """Return how many bytes a file has by asking for its description only, or None if its server does not say."""
    try:
        if url.startswith("file:"):
            return os.path.getsize(urllib.request.url2pathname(url[len("file:") :]))  # noqa: PTH202
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=SIZE_SECONDS) as response:
            length = response.headers["Content-Length"]
        return int(length) if length else None
    except (OSError, ValueError):
        # A size is an extra; the list is shown without it.
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
