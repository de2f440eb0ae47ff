"""Pages to follow along, followed: their files are written, their commands executed, in the page's order, in a folder.

It knows no shell: a command is a program and its arguments. What the words after a fence mean, beside those of
`code_blocks`:

| fence                         | meaning                                                                        |
|-------------------------------|--------------------------------------------------------------------------------|
| any `title="orders.py"`       | the file is written as it stands                                               |
| `changes title="orders.py"`   | each top-level statement takes the place of the one of that name, or is added  |
| `console run`                 | lines after `$ ` are executed, what follows is what they print; `...` as there |
| `console run exit="1"`        | the last of them ends so; `-9` is a process that was killed                    |

The word `ID` in a command is the first run's id that the command before it printed. A command that ends in ` &` goes on
in the background until the page is at its end; `%1` is the first of them.
"""

from __future__ import annotations

import ast
import doctest
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.code_blocks import Block, PageError, blocks_of

PATIENCE_S = 100
RUN_ID = re.compile(r"\b\d{15,}\b")
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


@dataclass
class Folder:
    """Where a reader works: the files so far, and what is set in the environment."""

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""
    jobs: list[subprocess.Popen[str]] = field(default_factory=list)

    def follow(self, page: Path) -> None:
        """Do all that a page says. Raises PageError if something else happens than it says."""
        try:
            for block in blocks_of(page):
                self.take(block)
                if block.info[:2] == ("console", "run"):
                    self._execute(block)
        finally:
            self._leave()

    def take(self, block: Block) -> None:
        """Write or change the file that a block stands for, if it does."""
        name = word(block, "title")
        if name is None:
            return
        file = self.path / name
        text = changed(file.read_text(encoding="utf-8"), block.text) if "changes" in block.info else block.text
        file.write_text(text, encoding="utf-8")

    def take_files(self, page: Path) -> None:
        """Write what a page leaves behind, without executing its commands."""
        for block in blocks_of(page):
            self.take(block)

    def _execute(self, block: Block) -> None:
        commands = list(_commands(block))
        for place, (command, expected) in enumerate(commands):
            wanted = int(word(block, "exit") or 0) if place == len(commands) - 1 else 0
            code, printed = self.run(command)
            if code != wanted:
                raise PageError(f"{block.place}: `{command}` ends with {code}, not {wanted}\n{printed}")
            if not doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS):
                raise PageError(f"{block.place}: `{command}` prints something else:\n{printed}")

    def run(self, command: str) -> tuple[int, str]:
        """Execute a command, and return its exit code and what it has printed."""
        words = [self._meant(each) for each in shlex.split(command)]
        if words[-1] == "&":
            self.jobs.append(self._started(words[:-1], stdout=subprocess.DEVNULL))
            return 0, ""
        process = self._started(words, stdout=subprocess.PIPE)
        try:
            printed, _ = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        found = RUN_ID.search(printed)
        self.run_id = found[0] if found else self.run_id
        said = "Killed\n" if process.returncode == -signal.SIGKILL else ""  # by a shell that a person uses
        code: int = process.returncode
        return code, _trimmed(printed + said)

    def _meant(self, given: str) -> str:
        if given.startswith("%"):
            return str(self.jobs[int(given[1:]) - 1].pid)
        return self.run_id if given == "ID" else given

    def _started(self, words: list[str], stdout: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words,
            executable=shutil.which(words[0], path=PATH),
            cwd=self.path,
            env={**_inherited(), **self.environment},
            stdout=stdout,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    def _leave(self) -> None:
        for job in self.jobs:
            job.kill()
            job.wait()


def word(block: Block, name: str) -> str | None:
    """Return the value of a word after a block's fence, such as `title="orders.py"`."""
    return next((info.partition("=")[2].strip('"') for info in block.info if info.startswith(f"{name}=")), None)


def changed(source: str, changes: str) -> str:
    """Return a program with top-level statements replaced by those of the same name.

    What is new is added: imports at the top, all else at the end.
    """
    top, end = "", ""
    for name, text in _statements(changes):
        lines = source.splitlines(keepends=True)
        places = [statement for statement in ast.parse(source).body if _name(statement) == name]
        if places:
            lines[_first_line(places[-1]) - 1 : places[-1].end_lineno] = [text]
            source = "".join(lines)
        elif text.startswith(("import ", "from ")):
            top += text
        else:
            end += f"\n\n{text}"
    return top + source + end


def _statements(source: str) -> Iterable[tuple[str, str]]:
    lines = source.splitlines(keepends=True)
    for statement in ast.parse(source).body:
        yield _name(statement), "".join(lines[_first_line(statement) - 1 : statement.end_lineno])


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(each.lineno for each in decorators)])


def _name(statement: ast.stmt) -> str:
    """What a statement defines: a class, a function, a variable; what is imported from where; else its text."""
    match statement:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case ast.ImportFrom(module=module):
            return f"from {module}"
        case _:
            return ast.unparse(statement)


def _commands(block: Block) -> Iterable[tuple[str, str]]:
    command, expected = "", ""
    for line in block.text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line.removeprefix("$ "), ""
        elif not command:
            raise PageError(f"{block.place}: a block of commands begins with one, after `$ `")
        else:
            expected += f"{line.rstrip()}\n"
    yield command, expected


def _trimmed(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _inherited() -> dict[str, str]:
    """The environment of a person at a terminal of 80 columns without colours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "CLOACA_", "COV_"))}
    return {**kept, "PATH": PATH, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
