"""The files of `server.tls`: what can't be used is a fault that names the setting and the file."""

from __future__ import annotations

import logging
import os
import ssl
from typing import TYPE_CHECKING

import pytest

from jobqueue.certificates import load_context
from jobqueue.config.tls import TlsSettings
from jobqueue.errors import ConfigError
from tests.authority import Authority, openssl

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def load(cert: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    context = load_context(TlsSettings(cert=str(cert), key=str(key), client_ca=str(client_ca) if client_ca else None))
    assert context is not None
    return context


def fault_of(cert: Path, key: Path, client_ca: Path | None = None) -> str:
    with pytest.raises(ConfigError) as raised:
        load(cert, key, client_ca)
    [fault] = raised.value.faults
    return fault


def test_without_files_there_is_no_tls() -> None:
    assert load_context(TlsSettings()) is None


def test_a_certificate_with_its_key_makes_a_context(authority: Authority) -> None:
    context = load(*authority.issue("good"))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE
    assert load(*authority.issue("mutual"), authority.cert).verify_mode is ssl.CERT_REQUIRED


def test_the_issuers_that_follow_the_certificate_are_sent(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("leaf")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(cert.read_bytes() + authority.cert.read_bytes())
    assert load(chain, key)


def test_a_file_that_is_not_there_or_not_a_file_is_a_fault(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("a")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    missing = tmp_path / "none.pem"
    assert fault_of(missing, key) == f"server.tls.cert: {missing}: No such file or directory"
    assert fault_of(cert, missing) == f"server.tls.key: {missing}: No such file or directory"
    assert fault_of(cert, key, missing) == f"server.tls.client_ca: {missing}: No such file or directory"
    assert fault_of(tmp_path, key) == f"server.tls.cert: {tmp_path}: is a folder, not a file"
    assert fault_of(pipe, key) == f"server.tls.cert: {pipe}: is not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_a_fault(authority: Authority) -> None:
    cert, key = authority.issue("secret")
    key.chmod(0)
    assert fault_of(cert, key) == f"server.tls.key: {key}: Permission denied"


def test_all_faulty_files_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert len(raised.value.faults) == 3


def test_swapped_files_are_a_fault_that_says_so(authority: Authority) -> None:
    cert, key = authority.issue("swapped")
    with pytest.raises(ConfigError) as raised:
        load(key, cert)
    assert all("are cert and key swapped?" in fault for fault in raised.value.faults)


def test_the_key_of_another_certificate_is_a_fault(authority: Authority) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    fault = fault_of(one.cert, other.key)
    assert fault == f"server.tls.key: {other.key}: is not the private key of the certificate in {one.cert}"


def test_an_encrypted_key_is_a_fault_with_the_way_to_decrypt_it(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("encrypted")
    locked = tmp_path / "locked.key"
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)
    fault = fault_of(cert, locked)
    assert fault.startswith(f"server.tls.key: {locked}: the private key is encrypted")
    assert f"openssl pkey -in {locked}" in fault
    openssl("ec", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)  # the older form
    assert fault_of(cert, locked).startswith(f"server.tls.key: {locked}: the private key is encrypted")


def test_a_file_of_another_kind_is_a_fault(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("kind")
    other = tmp_path / "other.pem"
    other.write_bytes(os.urandom(1000))
    assert fault_of(other, key) == f"server.tls.cert: {other}: no certificate in PEM form"
    assert fault_of(cert, other) == f"server.tls.key: {other}: no private key in PEM form"
    assert fault_of(cert, key, other) == f"server.tls.client_ca: {other}: no certificate in PEM form"


@pytest.mark.parametrize("name", ["cert", "key", "client_ca"])
def test_a_damaged_file_is_a_fault(authority: Authority, tmp_path: Path, name: str) -> None:
    cert, key = authority.issue("whole")
    files = {"cert": cert, "key": key, "client_ca": authority.cert}
    damaged = tmp_path / "damaged.pem"
    lines = files[name].read_text().splitlines()
    lines[2] = lines[2][::-1]
    damaged.write_text("\n".join(lines))
    fault = fault_of(**files | {name: damaged})
    assert f"server.tls.{name}: {damaged}: " in fault


def test_a_key_that_is_too_weak_is_a_fault(tmp_path: Path, authority: Authority) -> None:
    cert, key = tmp_path / "weak.pem", tmp_path / "weak.key"
    openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=weak")
    assert "too weak for TLS today" in fault_of(cert, key)


@pytest.mark.parametrize("days", [-1, 30])
def test_an_expired_certificate_is_a_warning(authority: Authority, caplog: pytest.LogCaptureFixture, days: int) -> None:
    certificate = authority.issue(f"of{days}", days=days)
    with caplog.at_level(logging.INFO):
        assert load(*certificate, authority.cert)
    warned = ["tls.certificate_invalid" in record.getMessage() for record in caplog.records]
    assert any(warned) == (days < 0)
