"""mypy says the same cold, with a cache, and in a daemon, whatever was edited: there, or in another module.

A project stands in two layouts side by side, all in one module and in six. After each edit, and after it is undone,
three answers have to be one: that of a cold cache, that of the cache of the step before, and that of one daemon that
lives through all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.mypy.projects_checking import Answer, Project, crashes, dependencies
from tests.mypy.projects_edits import BROKEN, COMMENTS, EDITS, MODULES, STALE, Edit, layouts
from tests.thoroughness import some

TARGETS = ("one.py", "six")


@dataclass
class Trial:
    """The project, and what mypy says of it while nothing is edited."""

    project: Project
    base: Answer

    def compare(self, modules: dict[str, str]) -> Answer:
        """Return what mypy says of these modules, all the same."""
        self.project.write(layouts(modules))
        expected = self.project.cold(*TARGETS)
        assert crashes(expected) == []
        assert self.project.warm(*TARGETS).by_file == expected.by_file
        assert self.project.daemon(*TARGETS).by_file == expected.by_file
        return expected

    def undo(self) -> None:
        """Write the modules as they were: the daemon is asked about it, the cache lives from edit to edit."""
        self.project.write(layouts(MODULES))
        assert self.project.daemon(*TARGETS).by_file == self.base.by_file


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("incremental")
    (folder / "six").mkdir()
    # In the section of modules: the daemon dies of a plugin's code in mypy's own.
    options = "[mypy-one,six.*]\nenable_error_code = cloaca-unchecked\n"
    project = Project(folder, options=options, dependencies=dependencies(tmp_path_factory))
    project.write(layouts(MODULES))
    trial = Trial(project, project.cold(*TARGETS))
    try:
        trial.undo()
        yield trial
    finally:
        project.stop()


@pytest.mark.parametrize("edit", some(EDITS + COMMENTS, 4), ids=str)
def test_what_mypy_says_after_an_edit_is_no_matter_of_what_it_remembers(trial: Trial, edit: Edit) -> None:
    edited = trial.compare(edit.applied())
    assert edited.by_file != trial.base.by_file  # or the edit would show nothing
    trial.undo()


@pytest.mark.parametrize("edit", STALE, ids=str)
def test_a_cache_sees_what_a_daemon_does_not(trial: Trial, edit: Edit) -> None:
    trial.project.write(layouts(edit.applied()))
    edited, warm, stale = (
        check(*TARGETS).by_file for check in (trial.project.cold, trial.project.warm, trial.project.daemon)
    )
    trial.undo()
    assert warm == edited != trial.base.by_file
    if stale != edited:
        pytest.xfail("the metadata of an alias in another module is no part of what a daemon compares")


def test_a_syntax_error_leaves_nothing_behind(trial: Trial) -> None:
    trial.project.write(layouts(BROKEN.applied()))
    for check in (trial.project.cold, trial.project.warm, trial.project.daemon):
        answer = check(*TARGETS)
        assert crashes(answer) == []
        assert "[syntax]" in answer.text
    trial.undo()
    assert trial.project.warm(*TARGETS).by_file == trial.base.by_file
