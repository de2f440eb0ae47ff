"""mypy and pyright as functions from programs to what they say, in one shape for both."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGINS = ("pydantic.mypy", "returns.contrib.mypy.returns_plugin")

_LINE = re.compile(r"(?P<file>[^:]+):(?P<line>\d+): (?P<kind>error|note): (?P<text>.*?)(?:  \[(?P<code>[\w-]+)\])?$")
_MODULE = re.compile(r"\b(?:[a-z_]\w*\.)+(?=\w)")


@dataclass(frozen=True, order=True)
class Said:
    """One thing that a checker says: an error with its code, or the type that it reveals."""

    file: str
    line: int
    code: str
    text: str


def mypy(directory: Path, plugins: tuple[str, ...]) -> list[Said]:
    """Run mypy, strict, over every program below ``directory``."""
    config = directory / "mypy.ini"
    listed = f"plugins = {', '.join(plugins)}\n" if plugins else ""
    config.write_text(f"[mypy]\npython_version = 3.11\nstrict = True\nwarn_unreachable = True\n{listed}")
    files = [str(path) for path in sorted(directory.rglob("*.py"))]
    command = ["-m", "mypy", "--config-file", str(config), "--cache-dir", str(directory / ".mypy_cache"), *files]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = [match for line in done.stdout.splitlines() if (match := _LINE.match(line))]
    return [_mypy_said(match) for match in found if match["kind"] == "error" or "Revealed type" in match["text"]]


def _mypy_said(match: re.Match[str]) -> Said:
    reveals = match["kind"] == "note"
    text = (
        _MODULE.sub("", match["text"].removeprefix('Revealed type is "').removesuffix('"'))
        if reveals
        else match["text"]
    )
    return Said(Path(match["file"]).name, int(match["line"]), "reveal" if reveals else match["code"], text)


def pyright(directory: Path) -> list[Said]:
    """Run pyright, standard, over every program below ``directory``."""
    config = {"include": ["."], "extraPaths": [str(ROOT)], "pythonVersion": "3.11", "typeCheckingMode": "standard"}
    (directory / "pyrightconfig.json").write_text(json.dumps(config))
    command = ["-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(directory)]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [_pyright_said(each) for each in json.loads(done.stdout)["generalDiagnostics"]]


def _pyright_said(diagnostic: dict[str, object]) -> Said:
    place, text = json.loads(json.dumps(diagnostic["range"])), str(diagnostic["message"])
    reveals = diagnostic["severity"] == "information"
    if reveals:
        text = text.rpartition('" is "')[2].removesuffix('"').translate(str.maketrans("()", "[]"))
    code = "reveal" if reveals else str(diagnostic.get("rule", "syntax"))
    return Said(Path(str(diagnostic["file"])).name, place["start"]["line"] + 1, code, text)
