"""Private keys as people store them: which can be used, which cannot and why, and what shows of them."""

import hashlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat

from policyd.errors import KeyInvalid
from policyd.keys import PrivateKey, check, read_pem
from tests.unit.keys.pems import (
    damaged_rsa_pem,
    dsa_key,
    ec_key,
    ed25519_key,
    ed25519_pem,
    rsa_key,
    rsa_pem,
    stored,
)


def refusal(data: bytes) -> str:
    with pytest.raises(KeyInvalid) as caught:
        check(read_pem(data))
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "algorithm", "bits"),
    [
        pytest.param(stored(rsa_key()), "rsa-sha256", 2048, id="PKCS8"),
        pytest.param(stored(rsa_key(), PrivateFormat.TraditionalOpenSSL), "rsa-sha256", 2048, id="PKCS1"),
        pytest.param(stored(rsa_key(), encoding=Encoding.DER), "rsa-sha256", 2048, id="PKCS8-DER"),
        pytest.param(
            stored(rsa_key(), PrivateFormat.TraditionalOpenSSL, Encoding.DER),
            "rsa-sha256",
            2048,
            id="PKCS1-DER",
        ),
        pytest.param(rsa_pem(4096), "rsa-sha256", 4096, id="4096"),
        pytest.param(ed25519_pem(), "ed25519-sha256", 256, id="Ed25519"),
        pytest.param(stored(ed25519_key(), encoding=Encoding.DER), "ed25519-sha256", 256, id="Ed25519-DER"),
        pytest.param(
            b"# made in 2026\r\n" + rsa_pem().replace(b"\n", b"\r\n"), "rsa-sha256", 2048, id="CRLF"
        ),
    ],
)
def test_what_kumomta_can_sign_with_is_read_whatever_its_form(data, algorithm, bits):
    key = read_pem(data)
    check(key)
    assert (key.algorithm, key.bits) == (algorithm, bits)
    assert key.pem.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert read_pem(key.pem.encode()) == key


def test_the_key_id_is_the_sha256_of_the_public_key():
    public = rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert read_pem(rsa_pem()).key_id == hashlib.sha256(public).hexdigest()
    assert read_pem(rsa_pem(number=1)).key_id != read_pem(rsa_pem()).key_id


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (rsa_pem(1024), "is RSA with 1024 bits, and only 2048 and 4096 are allowed: receivers distrust"),
        (rsa_pem(3072), "is RSA with 3072 bits, and only 2048 and 4096 are allowed"),
        (stored(ec_key()), "is an elliptic-curve key (secp256r1), and DKIM knows only RSA and Ed25519"),
        (stored(dsa_key()), "is a DSA key"),
        (stored(rsa_key(), passphrase=b"geheim"), "is encrypted with a passphrase"),
        (damaged_rsa_pem(), "is damaged"),
        (b"", "cannot be read"),
        (b"not a key", "cannot be read"),
        (rsa_pem()[:400], "cannot be read"),
        (rsa_pem().replace(b"MI", b"!!"), "cannot be read"),
        (rsa_pem().replace(b"\n", b"\\n"), "cannot be read"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "there is PEM, but of something else",
        ),
        (b"-" * 70_000, "is larger than"),
    ],
)
def test_what_cannot_sign_is_refused_with_a_sentence(data, sentence):
    assert sentence in refusal(data)


def test_a_damaged_key_has_the_key_id_of_the_sound_one_and_is_refused_all_the_same():
    assert read_pem(damaged_rsa_pem()).key_id == read_pem(rsa_pem()).key_id
    assert "numbers do not belong together" in refusal(damaged_rsa_pem())


@pytest.mark.parametrize("data", [rsa_pem(), ed25519_pem()])
def test_a_key_does_not_show(data):
    key = read_pem(data)
    secret = key.pem.splitlines()[1]
    assert secret not in repr(key)
    assert secret not in str(key)
    assert isinstance(key, PrivateKey)


@pytest.mark.parametrize("data", [rsa_pem(1024), rsa_pem()[:400], damaged_rsa_pem(), stored(ec_key())])
def test_no_refusal_quotes_a_key(data):
    lines = [line for line in data.decode().splitlines() if not line.startswith("-")]
    said = refusal(data)
    assert not any(line[:16] in said for line in lines)
