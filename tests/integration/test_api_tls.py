"""TLS: the configured certificate, replaced under a running service by SIGHUP."""

import datetime as dt
import ipaddress
import os
import signal
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from policyd.errors import ConfigError
from policyd.store.pool import Connection
from tests.integration.conftest import Service, make_config, make_token, serving
from tests.integration.wire import Wire, wire

PEM = serialization.Encoding.PEM


def write_certificate(directory: Path, name: str, *, passphrase: bytes = b"") -> None:
    """cert.pem for 127.0.0.1 whose subject is *name*, and its key.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    encryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    (directory / "cert.pem").write_bytes(certificate.public_bytes(PEM))
    (directory / "key.pem").write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption))


@pytest.fixture
async def service(dsn: str, db: Connection, tmp_path: Path) -> AsyncIterator[Service]:
    await make_token(db)
    write_certificate(tmp_path, "first")
    config = make_config(dsn)
    lookup = replace(config.lookup, tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    async with serving(replace(config, lookup=lookup)) as running_service:
        await running_service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        yield running_service


async def shown(service: Service, trusted: Path) -> str:
    """The name in the certificate that a new connection is shown; it has to be the one in *trusted*."""
    async with wire(service.url, ssl.create_default_context(cafile=trusted / "cert.pem")) as connection:
        assert (await connection.get("/queue-settings")).status == 200
        return name_shown(connection)


def name_shown(connection: Wire) -> str:
    shown_now = connection.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return str(x509.load_der_x509_certificate(shown_now).subject.rfc4514_string()).removeprefix("CN=")


async def hang_up(service: Service, expected: str) -> str:
    before = len(service.observations.seen)
    os.kill(os.getpid(), signal.SIGHUP)
    seen = await service.observations.wait_for(
        lambda each: type(each).__name__.startswith("Certificate"), after=before
    )
    assert type(seen).__name__ == expected
    return repr(seen)


async def test_a_new_certificate_is_shown_after_sighup_and_open_connections_go_on(
    service: Service, tmp_path: Path
) -> None:
    async with wire(service.url, ssl.create_default_context(cafile=tmp_path / "cert.pem")) as connection:
        assert (await connection.get("/queue-settings")).status == 200
        write_certificate(tmp_path, "second")
        await hang_up(service, "CertificateRead")
        assert await shown(service, tmp_path) == "second"
        assert (await connection.get("/queue-settings")).status == 200
        assert name_shown(connection) == "first"


async def test_files_that_cannot_be_used_change_nothing_and_are_told_of(
    service: Service, tmp_path: Path
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "cert.pem").write_bytes(cert.read_bytes())
    first_key = key.read_bytes()

    write_certificate(tmp_path, "second")
    second_key = key.read_bytes()
    key.write_bytes(first_key)  # does not fit
    assert "cannot be used" in await hang_up(service, "CertificateRefused")
    assert await shown(service, tmp_path / "first") == "first"

    cert.write_text("no certificate")
    await hang_up(service, "CertificateRefused")
    write_certificate(tmp_path, "third", passphrase=b"a passphrase that nobody is asked for")
    await hang_up(service, "CertificateRefused")
    key.unlink()
    told = await hang_up(service, "CertificateRefused")
    assert "No such file" in told
    assert await shown(service, tmp_path / "first") == "first"
    for secret in (first_key, second_key):
        assert secret.split(b"\n")[1].decode() not in told

    write_certificate(tmp_path, "fourth")
    await hang_up(service, "CertificateRead")
    assert await shown(service, tmp_path) == "fourth"


async def test_a_service_does_not_start_without_the_certificate_that_it_is_to_show(
    dsn: str, tmp_path: Path
) -> None:
    config = make_config(dsn)
    lookup = replace(config.lookup, tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    with pytest.raises(ConfigError, match=r"lookup\.tls_cert .* cannot be used: No such file"):
        async with serving(replace(config, lookup=lookup)):
            pass


async def test_plain_http_on_a_tls_port_is_hung_up_on(service: Service) -> None:
    async with wire(service.url) as connection:
        await connection.send("GET /queue-settings HTTP/1.1", "Host: policyd")
        assert b"HTTP" not in await connection.reader.read(1000)
    async with service.session.get(service.admin_url + "/livez") as response:
        assert response.status == 200
