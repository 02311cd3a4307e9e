"""Getting into a store: passwords, users with few permissions, TLS, databases."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.store import NotStarted, Store, free_ports
from jobqueue.backend.valkey import library
from jobqueue.backend.valkey.opening import store_calls
from jobqueue.config import ValkeySettings
from jobqueue.config.valkey import ValkeyTlsSettings
from jobqueue.errors import ConfigError
from tests.authority import Authority
from tests.backend.valkey.function_client import codes_of
from tests.backend.valkey.stored import stored
from tests.backend.valkey.test_calls import opened, submit, until
from tests.stores import client_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

PERMISSIONS = (
    *("~{t}:*", "&{t}:*", "-@all", "+@read", "+@write", "+@connection", "+@scripting", "+@pubsub"),
    *("+info", "+time", "+wait"),
)
"""Of a user that runs the servers: its own keys and channels, no administration."""


SLOW_S = 5.0
"""A time for calls that a busy machine meets."""


async def refusal_of(url: str, *, start_s: float = 10.0, **changes: Any) -> str:
    calls = store_calls(ValkeySettings(url=url, namespace="t", **changes))
    try:
        with pytest.raises(ConfigError) as caught:
            await calls.open(start_s)
    finally:
        await calls.close()
    return str(caught.value)


async def works(url: str, **changes: Any) -> None:
    async with opened(url, **{"call_timeout_s": SLOW_S, **changes}) as calls:
        await calls.call("set_queue", ("default", "", 0, b"blob", 1000, 10, 1, "fifo", -1, 0))
        assert codes_of(await submit(calls, "a"))[0] in (1, 2)


@pytest.fixture
def locked_store(store: Store) -> Iterator[Store]:
    """A store with a password, and a user with the permissions that a server needs."""
    client = client_of(store)
    client.acl_setuser("jobs", enabled=True, reset=True, passwords=["+p/w?#@"], commands=[], keys=[])
    client.execute_command("ACL", "SETUSER", "jobs", *PERMISSIONS)
    client.execute_command("ACL", "SETUSER", "weak", "on", ">weak", "~*", "&*", "+@all", "-fcall")
    client.config_set("requirepass", "secret")
    yield store
    client.close()
    client = administrator(store)
    client.config_set("requirepass", "")
    client.acl_deluser("jobs", "weak")
    client.close()


def administrator(store: Store) -> redis.Redis:
    import redis as client_library

    return client_library.Redis.from_url(store.url, password="secret")


def with_identity(store: Store, identity: str) -> str:
    return store.url.replace("unix://", f"unix://{identity}@")


async def test_a_password_is_needed_where_the_store_has_one(locked_store: Store) -> None:
    assert (await refusal_of(locked_store.url)).endswith(": set the user and the password")
    refused = await refusal_of(with_identity(locked_store, ":wrong"))
    assert "WRONGPASS" in refused
    assert "wrong@" not in refused
    await works(with_identity(locked_store, ":secret"))
    await works(locked_store.url, password="secret")


async def test_a_password_that_the_store_has_not_is_a_fault(store: Store) -> None:
    refused = await refusal_of(store.url, password="secret")
    assert refused.endswith(": the store has no password: remove it from the settings, or set requirepass there")


async def test_a_user_with_few_permissions_suffices(locked_store: Store) -> None:
    await works(with_identity(locked_store, "jobs:p%2Fw%3F%23%40"))


def test_the_page_names_the_permissions_that_suffice() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/scale-out.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("ACL SETUSER")]
    assert line == " ".join(("ACL SETUSER jobs on >PASSWORD", *PERMISSIONS)).replace("{t}", "{shop}")


async def test_a_password_may_change_in_its_file(locked_store: Store, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    client = administrator(locked_store)
    async with opened(locked_store.url, password_file=str(file)) as calls:
        client.config_set("requirepass", "other")
        file.write_text("other\n")
        client.client_kill_filter(_type="normal", skipme=True)
        assert (await calls.call("look", (0, "x"), patience_s=10.0))[1] is None
        client.config_set("requirepass", "secret")
    client.close()


async def test_files_that_can_not_be_read_are_named(store: Store) -> None:
    refused = await refusal_of(
        "rediss://127.0.0.1:1", password_file="/no/file", tls=ValkeyTlsSettings(ca="/no/ca", cert="/no/c", key="/no/k")
    )
    assert refused.splitlines() == [
        "valkey.password_file: /no/file: No such file or directory",
        "valkey.tls.ca: /no/ca: No such file or directory",
        "valkey.tls.cert: /no/c: No such file or directory",
        "valkey.tls.key: /no/k: No such file or directory",
    ]


async def test_a_database_that_is_not_there_is_a_fault(store: Store) -> None:
    await works(f"{store.url}?db=3")
    assert "the number at the end of the address is no database of it" in await refusal_of(f"{store.url}?db=99")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def store_with_tls(authority: Authority, name: str) -> Iterator[str]:
    """Start a store that has TLS alone, with a certificate of this name; yield its address."""
    server = authority.issue(name, names=f"DNS:{name}")
    (port,) = free_ports(1)
    files = ("--tls-cert-file", server.cert, "--tls-key-file", server.key, "--tls-ca-cert-file", authority.cert)
    try:
        with Store("--tls-port", str(port), *map(str, files), "--tls-auth-clients", "optional"):
            yield f"rediss://localhost:{port}"
    except NotStarted as error:
        pytest.skip(f"the store has no TLS: {error}")


@pytest.fixture(scope="module")
def tls_url(authority: Authority) -> Iterator[str]:
    with store_with_tls(authority, "localhost") as url:
        yield url


async def test_tls_with_and_without_a_certificate_of_the_server(tls_url: str, authority: Authority) -> None:
    own = authority.issue("jobqueue")
    trusted = ValkeyTlsSettings(ca=str(authority.cert))
    await works(tls_url, tls=trusted)
    shown = ValkeyTlsSettings(ca=str(authority.cert), cert=str(own.cert), key=str(own.key))
    await works(tls_url.replace("rediss://", "valkeys://"), tls=shown)


async def test_a_certificate_of_another_issuer_is_refused_at_once(tls_url: str, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    async with asyncio.timeout(20):
        refused = await refusal_of(tls_url, start_s=60.0, tls=ValkeyTlsSettings(ca=str(stranger.cert)))
    assert "set valkey.tls.ca to the certificate of its issuer" in refused


async def test_a_certificate_of_another_name_is_refused_unless_names_are_not_checked(authority: Authority) -> None:
    ca = str(authority.cert)
    with store_with_tls(authority, "elsewhere") as url:
        assert "CERTIFICATE_VERIFY_FAILED" in await refusal_of(url, tls=ValkeyTlsSettings(ca=ca))
        await works(url, tls=ValkeyTlsSettings(ca=ca, check_hostname=False))


async def test_an_address_without_tls_to_a_port_with_it_is_a_fault(tls_url: str) -> None:
    refused = await refusal_of(tls_url.replace("rediss", "redis"), start_s=0.3)
    assert "valkey.url: redis://localhost:" in refused


@pytest.mark.parametrize("barred", ["-function", "-function -fcall -fcall_ro"])
async def test_where_functions_are_barred_the_library_is_loaded_as_scripts(
    locked_store: Store, caplog: pytest.LogCaptureFixture, barred: str
) -> None:
    client = administrator(locked_store)
    client.function_flush()
    client.execute_command("ACL", "SETUSER", "jobs", *barred.split())
    url = with_identity(locked_store, "jobs:p%2Fw%3F%23%40")
    await works(url)
    assert "store.scripts" in caplog.text
    async with opened(url, call_timeout_s=SLOW_S) as calls:
        client.script_flush()
        assert [codes_of(await submit(calls, name)) for name in ("a", "b")] == [[2], [1]]
        client.script_flush()
        many = [calls.call("look", (0, "a")), submit(calls, "c")]
        assert stored((await many[0])[1])["A"] == b"{}"
        assert codes_of(await many[1]) == [1]
    assert client.function_list() == []
    client.close()


async def test_a_library_that_an_administrator_has_loaded_is_used(locked_store: Store) -> None:
    client = administrator(locked_store)
    client.function_load(library.text())
    client.execute_command("ACL", "SETUSER", "jobs", "-function", "-evalsha")
    client.close()
    await works(with_identity(locked_store, "jobs:p%2Fw%3F%23%40"))


async def test_a_user_that_may_not_call_functions_waits_and_is_logged(
    locked_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(with_identity(locked_store, "weak:weak")) as calls:
        waiting = calls.call("look", (0, "x"), patience_s=20.0)
        await until(lambda: "store.refuses" in caplog.text)
        assert "the user may not call the store's functions (NOPERM" in str(calls.trouble)
        client = administrator(locked_store)
        client.execute_command("ACL", "SETUSER", "weak", "+fcall")
        client.close()
        assert (await waiting)[1] is None
