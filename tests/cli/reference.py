"""The reference page of the command line, made from the commands themselves.

``python -m tests.cli.reference`` writes it anew; a test sees to it that nobody forgets to. It knows typer's commands,
and does not depend on how a version of typer lays out its help.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from cloaca.cli import program

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
LEFT_OUT = {"help", "install_completion", "show_completion"}

HEAD = """# Command line

The command `cloaca` comes with the extra `cloaca[cli]`; without a console script it is `python -m cloaca.cli`.
This page is made from the commands' own help, which `--help` shows too.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a run has failed, a contract is violated, an action was refused |
| 2 | usage: an option, a target, an input or a run's id that is none |
| 3 | the run is blocked |
| 4 | the database is not available |
| 130, 143 | interrupted: 128 and the number of the signal |

What is asked for goes to standard output, everything else to standard error. The database is that of `--database`, else
of `$CLOACA_DATABASE_URL`, else `sqlite:///cloaca.db`. A target is `module:workflow`, `path/to/file.py:workflow`, or a
module that has only one; modules are imported as `python -m` would, with the current directory on the path.

Colours are for terminals: `NO_COLOR=1` takes them away, `FORCE_COLOR=1` keeps them in a pipe, `--json` never has any.
Tables fit 80 columns. The fields of `--json` stand with each command; others may be added in later releases, so read
what you know and ignore the rest.

## Completion in a shell

`cloaca --install-completion` adds it to the start-up file of the shell that you are in, bash, zsh or fish; open a new
shell then. To put it there yourself, or into an image:

```sh
_CLOACA_COMPLETE=source_bash cloaca >> ~/.bashrc
_CLOACA_COMPLETE=source_zsh cloaca >> ~/.zshrc
_CLOACA_COMPLETE=source_fish cloaca > ~/.config/fish/completions/cloaca.fish
```
"""


def commands() -> list[list[str]]:
    """Return every command that is no group, as the words that call it."""
    return [words for words, _ in _found(program.commands(), [])]


def page() -> str:
    """Return the page."""
    sections = (_section(command, " ".join(["cloaca", *words])) for words, command in _found(program.commands(), []))
    return HEAD + "".join(f"\n{section}" for section in sections)


def _found(command: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    for name, child in command.commands.items():
        if hasattr(child, "commands"):
            yield from _found(child, [*words, name])
        else:
            yield [*words, name], child


def _section(command: Any, name: str) -> str:
    return "\n".join([f"## {name}", "", *_usage(command, name), *_text(command), *_table(command)])


def _usage(command: Any, name: str) -> list[str]:
    arguments = [_name(param, command) for param in command.params if not _is_option(param)]
    return ["```text", " ".join([name, *arguments, "[OPTIONS]"]), "```", ""]


def _text(command: Any) -> Iterator[str]:
    """The paragraphs of a docstring; those that are to stay as they are, as blocks."""
    for paragraph in inspect.cleandoc(command.callback.__doc__).split("\n\n"):
        if not paragraph.startswith("\b\n"):
            yield from (paragraph, "")
            continue
        title, _, rest = paragraph.removeprefix("\b\n").partition("\n")
        yield from (title, "", "```sh" if title == "Examples:" else "```text", textwrap.dedent(rest), "```", "")


def _table(command: Any) -> Iterator[str]:
    yield from ("| | |", "|---|---|")
    for param in command.params:
        if param.name not in LEFT_OUT:
            name = _name(param, command).replace("|", "\\|")
            yield f"| `{name}` | {_meaning(param)} |"
    yield ""


def _is_option(param: Any) -> bool:
    return str(param.opts[0]).startswith("-")


def _name(param: Any, command: Any) -> str:
    if not _is_option(param):
        return f"{param.metavar}..." if param.nargs == -1 and "..." not in param.metavar else str(param.metavar)
    names = ", ".join(sorted(param.opts, key=len))
    return names if param.is_flag else f"{names} {param.metavar or _choices(param, command)}"


def _choices(param: Any, command: Any) -> str:
    """What stands for the value of an option without a word of its own: the values of an enumeration, or N."""
    hint = get_type_hints(command.callback)[param.name]
    for kind in (hint, *get_args(hint)):
        if isinstance(kind, type) and issubclass(kind, Enum):
            return " or ".join(str(member.value) for member in kind)
    return "N"


def _meaning(param: Any) -> str:
    text = str(param.help).replace("|", "\\|")
    if not _is_option(param) or param.is_flag:
        return text
    if param.required:
        return f"{text} Required."
    return text if param.default is None else f"{text} Default: `{param.default}`."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
