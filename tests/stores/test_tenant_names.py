"""Names of tenants: what can be read in two ways is refused, and what is allowed is said."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca import InvalidTenant, Runner, Tenants
from cloaca.stores.sql.postgres_links import Names
from cloaca.stores.tenant_names import LONGEST_TENANT, checked_tenant, file_of, is_tenant, tenants_beside

GOOD = ["a", "7", "acme", "acme-2", "a_b", "select", "user", "table", "null", "x" * LONGEST_TENANT]
GOOD += ["3f2b1c9a-0d4e-4b6f-8a7c-1e2d3f4a5b6c", "console", "com", "public-1", "pgadmin"]
ODD = ["", " ", "a b", "a.b", "..", ".", "a/b", "../a", "a\\b", "/etc/passwd", "C:a", "a\0", "a\n", "a;b", 'a"b', "a'b"]
ODD += ["Acme", "ACME", "ä", unicodedata.normalize("NFD", "ä"), "аcme", "acme\u200b", "\u202eacme", "K", "ſ", "٣", "①"]  # noqa: RUF001 - look-alikes are what is tested
ODD += ["-a", "a-", "_a", "a_", "a@b", "a:b", "a%20b", "$user", "a" * 41, "a" * 63, "a" * 64, "x" * 10_000]
ODD += ["pg_", "pg_a", "pg_catalog", "public", "information_schema", "cloaca", "con", "nul", "com1", "lpt9"]
ODD += ["a-wal", "a-shm", "a-journal", "a-lock"]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_is_left_as_it_is(name: str) -> None:
    assert checked_tenant(name) == name
    assert Names(name).plain == name


@pytest.mark.parametrize("name", [*ODD, None, 7, b"acme", ["acme"]], ids=lambda name: ascii(name)[:30])
def test_an_odd_name_is_refused(name: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidTenant) as refused:
        checked_tenant(name)
    told = str(refused.value)
    assert told.isascii()
    assert (
        "a tenant's name has 1 to 40 characters" in told
        or "PostgreSQL keeps" in told
        or "files beside" in told
        or ("Windows opens" in told)
    )
    assert len(told) < 400


@pytest.mark.parametrize("url", ["sqlite:///{}/a.db", "postgresql://nobody@nowhere.invalid/none", "memory://"])
@pytest.mark.parametrize("name", ["..", 'a"; DROP SCHEMA public; --', "ä"])
def test_a_runner_refuses_it_before_anything_is_opened(url: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidTenant):
        Runner(url.format(tmp_path), tenant=name)
    assert list(tmp_path.iterdir()) == []


@given(st.text())
def test_whatever_is_allowed_is_plain(name: str) -> None:
    if is_tenant(name):
        assert name == name.casefold() == unicodedata.normalize("NFKC", name)
        assert name.isascii()
        assert Path(name).name == name
        assert 1 <= len(name.encode()) <= LONGEST_TENANT


@given(
    st.lists(st.from_regex(r"[a-z0-9_-]{1,12}", fullmatch=True).filter(is_tenant), min_size=2, max_size=2, unique=True)
)
@pytest.mark.parametrize("database", ["orders.db", "orders", "orders.v1.db", ".orders", "orders@x.db"])
def test_no_two_tenants_have_a_file_in_common(database: str, names: list[str]) -> None:
    """Nor does a file of one end as one that SQLite, or a store, keeps beside that of another."""
    base = Path("/data") / database
    one, two = (file_of(base, name) for name in names)
    beside = {one.with_name(one.name + ending) for ending in ("", "-wal", "-shm", "-journal", "-lock")}
    assert two not in beside
    assert base not in {one, two}
    assert one.parent == base.parent


@pytest.mark.parametrize("database", ["orders.db", "orders", ".orders"])
def test_a_tenants_file_is_found_again(database: str, tmp_path: Path) -> None:
    base = tmp_path / database
    for name in ("b", "a-1"):
        file_of(base, name).touch()
        file_of(base, name).with_name(file_of(base, name).name + "-wal").touch()
    (tmp_path / f"{base.stem}@Odd{base.suffix}").touch()
    (tmp_path / f"other@c{base.suffix}").touch()
    (tmp_path / f"{base.stem}@d{base.suffix}").mkdir()
    assert [(name, path.name) for name, path in tenants_beside(base)] == [
        (name, file_of(base, name).name) for name in ("a-1", "b")
    ]
    assert list(tenants_beside(tmp_path / "nowhere" / "orders.db")) == []


def test_memory_has_no_tenants_to_look_after() -> None:
    with pytest.raises(ValueError, match="a store is one tenant's already"):
        Runner(store=Runner("memory://")._engine.store, tenant="acme")
    with pytest.raises(Exception, match="memory:// has no tenants to look after"):
        Tenants("memory://")
