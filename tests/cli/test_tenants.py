"""``cloaca tenants``, and ``--tenant`` for every command that takes a database."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloaca import BlockingRunner, Workflow, sleep
from cloaca.cli import program
from cloaca.cli.tenant_options import ABOUT_TENANTS
from tests.cli import reference
from tests.cli.conftest import Answer, Command, Shell, environment_of
from tests.stores.conftest import postgres  # noqa: F401 - a fixture
from tests.stores.tenancy import a_database, connected

DATABASE = ("--database", "sqlite:///shop.db")
INPUT = '{"order_id": 7}'


def options_of(words: list[str]) -> list[str]:
    """Return the names of a command's parameters."""
    command = program.commands()
    for word in words:
        command = command.commands[word]
    return [param.name for param in command.params]


def test_every_command_that_takes_a_database_takes_a_tenant() -> None:
    found = [words for words in reference.commands() if "database" in options_of(words)]
    assert len(found) > 10
    for words in found:
        assert ("tenant" in options_of(words)) == (words[0] != ABOUT_TENANTS), words


def test_make_list_credentials_drop(cloaca: Command, here: Path) -> None:
    made = cloaca("tenants", "create", "acme", *DATABASE, "--json")
    assert (made.code, made.document) == (0, {"name": "acme", "place": str(here / "shop@acme.db"), "role": None})
    assert cloaca("tenants", "create", "acme", *DATABASE).out == f'tenant "acme" is in {here / "shop@acme.db"}\n'
    assert [tenant["name"] for tenant in cloaca("tenants", "list", *DATABASE, "--json").document] == ["acme"]
    assert cloaca("tenants", "list", *DATABASE).lines()[0].split() == ["NAME", "PLACE", "ROLE"]
    given = cloaca("tenants", "credentials", "acme", *DATABASE, "--json").document
    assert given == {"tenant": "acme", "user": None, "password": None, "url": "sqlite:///shop.db"}
    kept = cloaca("tenants", "drop", "acme", *DATABASE)
    assert (kept.code, "Say --yes" in kept.err) == (2, True)
    assert (here / "shop@acme.db").exists()
    assert cloaca("tenants", "drop", "acme", *DATABASE, "--yes", "--json").document == {"dropped": "acme"}
    assert cloaca("tenants", "list", *DATABASE).err == "note: no tenants\n"


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["tenants", "create", "Acme"], "small letters a to z", 2),
        (["tenants", "create", "../acme"], "small letters a to z", 2),
        (["tenants", "drop", "acme", "--yes"], "`cloaca tenants list` shows", 2),
        (["tenants", "list", "--database", "memory://"], "has no tenants to look after", 2),
        (["tenants"], "Make, list and drop the tenants", 2),
        (["runs", "list", "--tenant", "a b"], "small letters a to z", 2),
        (["runs", "list", "--tenant", "acme"], "there is no database", 4),
        (["worker", "jobs", "--tenant", "acme", "--all-tenants"], "exclude each other", 2),
        (["worker", "jobs", "--tenant", "acme"], 'no tenant is named "acme" in this database', 2),
        (["worker", "jobs", "--tenant", "A"], "small letters a to z", 2),
    ],
)
def test_what_it_refuses(cloaca: Command, here: Path, arguments: list[str], said: str, code: int) -> None:
    done = cloaca(*arguments)
    assert said in done.err
    assert done.code == code
    assert not list(here.glob("*.db"))


def test_a_tenants_runs_are_its_own(cloaca: Command) -> None:
    ran = cloaca("run", "jobs", "--input", INPUT, "--json", "--tenant", "acme", *DATABASE)
    assert ran.code == 0
    assert cloaca("run", "jobs", "--input", INPUT, "--json", *DATABASE).code == 0
    [acmes] = cloaca("runs", "list", "--json", "--tenant", "acme", *DATABASE).document
    [nobodys] = cloaca("runs", "list", "--json", *DATABASE).document
    assert acmes["id"] == ran.document["run_id"] != nobodys["id"]
    assert cloaca("runs", "show", acmes["id"], *DATABASE).code == 2
    assert cloaca("runs", "show", acmes["id"], "--tenant", "acme", *DATABASE).code == 0


def test_check_against_looks_at_the_runs_of_one_tenant(cloaca: Command) -> None:
    gone = Workflow("gone", sleep(3600))
    for tenant in ("acme", None):
        with BlockingRunner(DATABASE[1], tenant=tenant, workflows=[gone], work=False) as runner:
            if tenant:
                runner.start(gone)
    against = ("check", "jobs", "--against", DATABASE[1])
    acmes = cloaca(*against, "--tenant", "acme")
    assert (acmes.code, 'no workflow is named "gone"' in acmes.out) == (3, True)
    assert cloaca(*against).code == 0
    alone = cloaca("check", "jobs", "--tenant", "acme")
    assert (alone.code, "--tenant needs --against" in alone.err) == (2, True)


def test_on_postgresql_a_role_comes_with_it_and_a_look_makes_nothing(shell: Shell, postgres: str) -> None:  # noqa: F811 - the fixture
    async def with_database() -> None:
        async with a_database(postgres) as url:
            await asyncio.to_thread(check, url)
            async with connected(url) as owner:
                assert await owner.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'typo'") == 0

    def check(url: str) -> None:
        made = shell("tenants", "create", "acme", "--database", url)
        assert made.out.startswith('tenant "acme" is in acme, for role "cloaca_acme_'), made.err
        login = shell("tenants", "credentials", "acme", "--database", url).out.strip()
        assert login.startswith("postgresql://cloaca_acme_")
        again = shell("tenants", "credentials", "acme", "--database", url)
        assert (again.code, "--rotate" in again.err, again.out) == (1, True, "")
        ran = shell("run", "jobs", "--input", INPUT, "--json", "--tenant", "acme", CLOACA_DATABASE_URL=login)
        assert (ran.code, ran.document["status"]) == (0, "succeeded")
        assert login.partition("@")[0].rpartition(":")[2] not in ran.err + again.err
        typo = shell("runs", "list", "--tenant", "typo", "--database", url)
        assert (typo.code, 'no tenant is named "typo"' in typo.err) == (2, True)

    asyncio.run(with_database())


def test_a_worker_works_for_all_tenants_and_for_nobody_else(shell: Shell, here: Path) -> None:
    for name in ("acme", "beta"):
        assert shell("tenants", "create", name, *DATABASE).code == 0
    (here / "start.py").write_text(
        "import sys\nfrom cloaca import BlockingRunner\nfrom jobs import OrderRef, orders\n"
        "for tenant in ('acme', 'beta', None):\n"
        "    with BlockingRunner('sqlite:///shop.db', tenant=tenant, workflows=[orders], work=False) as runner:\n"
        "        handle = runner.start(orders, OrderRef(order_id=7))\n"
        "        if tenant in sys.argv[1:]:\n"
        "            print(handle.result(timeout=50).unwrap().tracking)\n"
    )
    worker = shell.start("worker", "jobs", "--all-tenants", "--json", *DATABASE)
    try:
        done = python(shell, "start.py", "acme", "beta")
        assert done.lines() == ["t-p1", "t-p1"], done.err
    finally:
        worker.send_signal(signal.SIGTERM)
        _, log = worker.communicate(timeout=30)
    assert worker.returncode == 0, log
    said = [json.loads(line)["message"] for line in log.splitlines() if line.startswith("{")]
    assert any(message.endswith("works for tenants acme, beta") for message in said), said
    assert said[-1] == "Stopped"
    [run] = shell("runs", "list", "--json", *DATABASE).document
    assert run["status"] == "pending"


def test_a_tenant_that_is_made_meanwhile_gets_a_worker_and_one_that_is_gone_is_left(shell: Shell, here: Path) -> None:
    quickly = "from cloaca.cli import tenant_working\ntenant_working.LOOK_S = 0.1\nfrom jobs import *\n"
    (here / "quickly.py").write_text(quickly)
    worker = shell.start("worker", "quickly:orders", "--all-tenants", *DATABASE)
    try:
        assert shell("tenants", "create", "late", *DATABASE).code == 0
        ran = python(shell, "-c", RUN_LATE)
        assert ran.lines() == ["t-p1"], ran.err
        assert shell("tenants", "drop", "late", "--yes", "--force", *DATABASE).code == 0
        while "Tenant late is gone" not in (worker.stderr.readline() if worker.stderr else "Tenant late is gone"):
            assert worker.poll() is None
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=30)
    assert worker.returncode == 0


def python(shell: Shell, *arguments: str) -> Answer:
    """Run a program of the user's."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=shell.directory,
        env=environment_of({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


RUN_LATE = """
from cloaca import BlockingRunner
from jobs import OrderRef, orders
with BlockingRunner("sqlite:///shop.db", tenant="late", workflows=[orders], work=False) as runner:
    print(runner.start(orders, OrderRef(order_id=7)).result(timeout=50).unwrap().tracking)
"""
