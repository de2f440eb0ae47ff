"""The program as a whole: version, help, usage, and what it says without its libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cloaca.cli import main
from tests.cli.conftest import Shell, environment_of
from tests.cli.reference import PAGE, commands, page

WITHOUT = "import sys; sys.modules[{library!r}] = None; from cloaca.cli import main; sys.exit(main())"


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_without_its_libraries_it_names_the_extra(library: str) -> None:
    program = WITHOUT.format(library=library)
    done = subprocess.run(
        [sys.executable, "-c", program, "--version"],
        env=environment_of({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'error: the command line needs an extra of cloaca: pip install "cloaca[cli]"\n'


GROUPS: list[list[str]] = [[], *([name] for name in sorted({words[0] for words in commands() if len(words) > 1}))]


@pytest.mark.parametrize("command", [*GROUPS, *commands()], ids=" ".join)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: {' '.join(['cloaca', *command])} ")
    assert ("Commands:" if command in GROUPS else f"Examples:\n    cloaca {' '.join(command)}") in out


def test_the_reference_page_says_what_the_commands_do() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m tests.cli.reference"
    assert {"cloaca run", "cloaca worker", "cloaca runs cancel", "cloaca db prune"} <= {
        " ".join(["cloaca", *c]) for c in commands()
    }


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("cloaca ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage: cloaca "),
        (["runs"], "Usage: cloaca runs "),
        (["db"], "Usage: cloaca db "),
        (["run"], "error: Missing argument 'TARGET'.\n  See cloaca run --help.\n"),
        (["check"], "error: Missing argument"),
        (["nosuch"], "error: No such command 'nosuch'.\n  See cloaca --help.\n"),
        (["run", "jobs", "--nosuch"], "error: No such option"),
        (["graph", "jobs", "--format", "png"], "error: Invalid value for '--format'"),
        (["runs", "list", "--status", "lost"], "error: Invalid value for '--status'"),
        (["runs", "list", "--limit", "0"], "error: Invalid value for '--limit'"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(said)


def test_a_shell_can_complete_the_commands(shell: Shell) -> None:
    answer = shell(COMP_WORDS="cloaca r", COMP_CWORD="1", _CLOACA_COMPLETE="complete_bash")
    assert answer.out.split() == ["run", "runs"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("bash", ["_cloaca_completion()", "complete -o default -F _cloaca_completion cloaca"]),
        ("zsh", ["#compdef cloaca", "compdef _cloaca_completion cloaca"]),
        ("fish", ["complete --command cloaca"]),
    ],
)
def test_a_shell_gets_its_script(name: str, parts: list[str], shell: Shell) -> None:
    answer = shell(_CLOACA_COMPLETE=f"source_{name}")
    assert answer.code == 0
    assert [part for part in parts if part not in answer.out] == []
