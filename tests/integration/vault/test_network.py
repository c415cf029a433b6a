"""The way to Vault: addresses, redirects, certificates, proxies."""

import datetime as dt
import ipaddress
import itertools
import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from policyd.config import VaultConfig
from policyd.errors import ConfigError
from policyd.keys import read_pem
from policyd.keys.vault.wire import parse_addresses
from policyd.observe.events import BackendLost, VaultTokenGranted
from tests.integration.vault.double import VaultDouble, serving
from tests.integration.vault.faults import NAME, PATH, always, on, refusal
from tests.integration.vault.servers import Vault
from tests.unit.keys.pems import rsa_key, rsa_pem


async def test_a_vault_that_is_down_at_the_start_is_used_once_it_is_there(said):
    double = VaultDouble()
    async with serving(double):
        pass
    port = int(double.address.rpartition(":")[2])
    vault = Vault(address=double.address, mark="late")
    async with vault.keys(vault.config(), said) as keys:
        assert "cannot be reached: Connection refused" in await refusal(keys)
        lost = next(each for each in said.seen if isinstance(each, BackendLost))
        assert lost.backend == "vault"
        async with serving(double, port=port):
            await vault.write(PATH, rsa_pem())
            await said.wait_for(lambda each: isinstance(each, VaultTokenGranted))
            assert await keys.read(NAME) == read_pem(rsa_pem())


async def test_a_standby_that_redirects_to_a_configured_address_is_followed(here, said):
    config = await here.vault.approle()
    async with serving(VaultDouble()) as standby:
        standby.fault = _redirecting(here.double.address)
        both = replace(config, address=f"{standby.address},{here.double.address}")
        async with here.vault.keys(both, said) as keys:
            assert await keys.read(NAME) is not None
    assert "PUT /v1/auth/approle/login" in standby.asked or "POST /v1/auth/approle/login" in standby.asked


async def test_a_redirect_to_a_stranger_is_not_followed_and_sends_nothing_there(here, said):
    async with serving(VaultDouble()) as stranger:
        here.double.fault = on("/data/", _redirecting(stranger.address))
        async with here.vault.keys(here.vault.config(), said) as keys:
            assert "which vault.address does not name" in await refusal(keys)
    assert stranger.asked == []


async def test_a_redirect_to_another_path_is_not_followed(here, said):
    target = f"{here.double.address}/v1/secret/data/somebody/else"
    here.double.fault = on("/data/dkim", always(307, text="<a href>", Location=target))
    async with here.vault.keys(here.vault.config(), said) as keys:
        await refusal(keys)
    assert here.count("somebody/else") == 0


async def test_redirects_in_circles_end(here, said):
    here.double.fault = on("/data/", _redirecting(here.double.address))
    async with here.vault.keys(here.vault.config(), said) as keys:
        assert "redirects in circles" in await refusal(keys)


async def test_a_sealed_node_is_passed_over_for_the_next_one(here, said):
    async with serving(VaultDouble()) as other:
        other.sealed = True
        config = here.vault.config()
        both = replace(config, address=f"{other.address},{here.double.address}")
        async with here.vault.keys(both, said) as keys:
            assert await keys.read(NAME) is not None
            other.asked.clear()
            assert await keys.read(NAME) is not None
    assert other.asked == []


async def test_a_kept_connection_that_vault_closed_is_dialled_again(here, said):
    drops = itertools.count()

    async def drop_once(request: web.BaseRequest) -> web.StreamResponse | None:
        if next(drops) == 0 and request.transport is not None:
            request.transport.close()
        return None

    async with here.vault.keys(here.vault.config(), said) as keys:
        await keys.read(NAME)
        here.double.fault = drop_once
        assert await keys.read(NAME) is not None
    assert not any(isinstance(each, BackendLost) for each in said.seen)


async def test_a_certificate_of_an_unknown_authority_is_refused_and_a_known_one_accepted(said, tmp_path):
    authority, context = certified(tmp_path)
    stranger, _ = certified(tmp_path)
    async with serving(VaultDouble(), tls=context) as double:
        vault = Vault(address=double.address, mark="tls")
        for ca_file in (None, stranger):
            async with vault.keys(vault.config(ca_file=ca_file), said) as keys:
                assert "has a TLS certificate that is not accepted: self-signed" in await refusal(keys)
        assert double.asked == []
        async with vault.keys(vault.config(ca_file=authority), said) as keys:
            assert await keys.read(NAME) is None


async def test_a_ca_file_that_is_not_there_is_said(said, tmp_path):
    _, context = certified(tmp_path)
    async with serving(VaultDouble(), tls=context) as double:
        vault = Vault(address=double.address)
        async with vault.keys(vault.config(ca_file=tmp_path / "nowhere"), said) as keys:
            await refusal(keys)


async def test_proxies_of_the_environment_are_none_of_vaults_business(here, said, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with here.vault.keys(here.vault.config(), said) as keys:
        assert await keys.read(NAME) is not None


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("", "vault.address is not set"),
        ("vault.example:8200", "is not like https://vault.example:8200"),
        ("ftp://vault.example", "is not like https://vault.example:8200"),
        ("https://user:canary@vault.example", "holds a user name or a password"),
        ("https://vault.example?x=1", "is not like https://vault.example:8200"),
        ("http://vault.example:8200", "would cross the network in the clear"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(address, sentence):
    with pytest.raises(ConfigError) as caught:
        parse_addresses(VaultConfig(address=address))
    assert sentence in str(caught.value)
    assert "canary" not in str(caught.value)


def _redirecting(address: str):
    async def redirect(request: web.BaseRequest) -> web.StreamResponse | None:
        return web.Response(status=307, headers={"Location": f"{address}{request.path_qs}"})

    return redirect


def certified(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """The certificate of a server on loopback that signed itself, and what it serves with."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"vault {time.monotonic_ns()}")])
    now = dt.datetime.now(dt.UTC)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, rsa_key(number=2).public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(loopback, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(rsa_key(number=2), hashes.SHA256())
    )
    path = directory / f"{name.rfc4514_string()}.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key = directory / "server.key"
    key.write_bytes(rsa_pem(number=2))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return path, context
