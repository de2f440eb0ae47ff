"""The tutorial, followed as a reader would: each part in a folder of its own, with the files of the first part.

The last tests look at the follower itself: a page that is wrong must fail.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # it comes with mkdocs, and without stubs

from tests.docs.code_blocks import PageError, blocks_of
from tests.docs.walkthroughs import Folder, changed
from tests.stores.servers import server

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
FIRST = TUTORIALS / "first-workflow.md"
Follow = Callable[[str], Folder]
PARTS = ["first-workflow", "contract-errors", "failure-and-recovery", "property-tests", "postgresql"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def environment(request: pytest.FixtureRequest, cache: Path) -> Iterator[dict[str, str]]:
    """What is set at the reader's terminal; for the part about PostgreSQL, the URL of a server."""
    quick = {"MYPY_CACHE_DIR": str(cache)}
    if request.node.callspec.params.get("part") != "postgresql":
        yield quick
        return
    with server() as url:
        yield {**quick, "CLOACA_DATABASE_URL": url}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", PARTS)
def test_a_part(part: str, tmp_path: Path, environment: dict[str, str]) -> None:
    folder = Folder(tmp_path, environment)
    if part != FIRST.stem:
        folder.take_files(FIRST)
    folder.follow(TUTORIALS / f"{part}.md")


def test_the_message_on_the_first_page_is_that_of_mypy(tmp_path: Path, cache: Path) -> None:
    """README: the program, one field renamed, and what mypy says; the page breaks its line."""
    page = ROOT / "README.md"
    program = next(block.text for block in blocks_of(page) if block.is_python)
    shown = next(block.text for block in blocks_of(page) if block.text.startswith("orders.py:"))
    renamed = program.replace("    sku: str\n    amount", "    skus: str\n    amount").replace(
        'sku="tea"', 'skus="tea"'
    )
    (tmp_path / "orders.py").write_text(renamed, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text("[mypy]\nplugins = pydantic.mypy, cloaca.mypy\n", encoding="utf-8")
    code, printed = Folder(tmp_path, {"MYPY_CACHE_DIR": str(cache)}).run("mypy orders.py")
    assert code == 1
    assert " ".join(printed.split()).startswith(" ".join(shown.split()))


def test_every_part_is_followed_in_the_order_of_the_site() -> None:
    text = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    (listed,) = [each["Tutorials"] for each in yaml.safe_load(text)["nav"] if "Tutorials" in each]
    pages = [Path(page).stem for entry in listed for page in entry.values()]
    assert pages == PARTS
    assert sorted(PARTS) == sorted(page.stem for page in TUTORIALS.glob("*.md"))


@pytest.fixture
def followed(tmp_path: Path) -> Follow:
    """Follows a page that is written here, with quotes for its fences."""

    def follow(text: str) -> Folder:
        page = tmp_path / "a-page.md"
        page.write_text(textwrap.dedent(text).replace("'''", "```"), encoding="utf-8")
        folder = Folder(tmp_path)
        folder.follow(page)
        return folder

    return follow


def test_files_are_written_and_commands_executed_in_order(followed: Follow) -> None:
    followed(
        """
        '''python title="one.py"
        print("one")
        '''
        '''console run
        $ python one.py
        one
        $ python -c "print(1); print(2); print(3)"
        1
        ...
        3
        '''
        '''python changes title="one.py"
        print("two")
        '''
        '''console run exit="3"
        $ python one.py
        one
        two
        $ python -c "import sys; print(123456789012345678); sys.exit(3)"
        123456789012345678
        '''
        '''console run exit="-9"
        $ python -c "import sys; print(sys.argv[1] * 2)" ID
        123456789012345678123456789012345678
        $ python -c "import os; os.kill(os.getpid(), 9)"
        Killed
        '''
        """
    )


@pytest.mark.parametrize("shown", ["2", "", "1\n2"])
def test_another_output_fails(followed: Follow, shown: str) -> None:
    with pytest.raises(PageError, match="prints something else"):
        followed(f"'''console run\n$ python -c 'print(1)'\n{shown}\n'''\n")


def test_another_exit_code_fails(followed: Follow) -> None:
    with pytest.raises(PageError, match="ends with 1, not 0"):
        followed("'''console run\n$ python -c 'raise SystemExit(1)'\n'''\n")


def test_a_block_of_commands_begins_with_one(followed: Follow) -> None:
    with pytest.raises(PageError, match="begins with one"):
        followed("'''console run\nhello\n'''\n")


def test_what_goes_on_in_the_background_ends_with_the_page(followed: Follow) -> None:
    folder = followed("'''console run\n$ python -c 'import time; time.sleep(600)' &\n$ kill -9 %1\n'''\n")
    assert [job.returncode for job in folder.jobs] == [-9]


def test_changes_take_the_places_of_what_has_their_name() -> None:
    program = "import os\n\n\n@first\n@second\ndef one():\n    return 1\n\n\nlast = one()\n"
    changes = 'import sys\n\n\ndef one():\n    """A one."""\n    return 11\n\n\nasync def two():\n    pass\n'
    assert changed(program, changes) == (
        'import sys\nimport os\n\n\ndef one():\n    """A one."""\n    return 11\n\n\nlast = one()\n\n\n'
        "async def two():\n    pass\n"
    )
