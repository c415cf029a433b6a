"""A node that signs, and what its signatures say."""

from typing import Any

from tests.integration.signing import KeyFiles, fingerprint
from tests.unit.keys.pems import ed25519_pem, rsa_pem

SIGNING = """
kumo.on('get_listener_domain', function() return kumo.make_listener_domain { relay_to = true } end)
require('policyd.sources'):setup()
local dkim_signer = require('policyd.dkim_sign'):setup()
local queue_helper = require('policyd.queue'):setup()
for _, event in ipairs { 'smtp_server_message_received', 'http_message_generated' } do
  kumo.on(event, function(msg) queue_helper:apply(msg) dkim_signer(msg) end)
end
kumo.on('get_egress_path_config', function() return kumo.make_egress_path {} end)
"""
DKIM_ROWS = """
update policy.dkim_settings set selector = 's1';
insert into policy.dkim_domain (domain) values ('a.example'), ('*.wild.example');
"""
FIRST, SECOND, MODERN = rsa_pem(), rsa_pem(number=1), ed25519_pem()


def store_key(tmp_path: Any, content: bytes = bytes(range(64))) -> str:
    """The Lua expression of a store key, in a file."""
    path = tmp_path / "store.key"
    path.write_bytes(content)
    return f"'{path}'"


def with_keys(keys: KeyFiles) -> None:
    """The keys of what DKIM_ROWS sign with."""
    keys.write("a.example/s1", FIRST)
    keys.write("x.wild.example/s1", SECOND)


def signatures(message: Any) -> list[tuple[str, str, bytes]]:
    """Who has signed a message, in order: domain, selector and key."""
    return [(each["domain"], each["selector"], each["key_bytes"].strip()) for each in message.signed_by]


def is_signed(message: Any, pem: bytes = FIRST, domain: str = "a.example", selector: str = "s1") -> bool:
    """Whether that key, and no other, has signed."""
    return signatures(message) == [(domain, selector, pem.strip())]


def key_path(pem: bytes, domain: str = "a.example", selector: str = "s1") -> str:
    """By what path a node asks for a key."""
    return f"/dkim/{domain}/{selector}?key_id={fingerprint(pem)}"


def mail_from(domain: str) -> bytes:
    return f"From: x@{domain}\r\nTo: y@dest.example\r\nX-Tenant: acme\r\nSubject: s\r\n\r\nhi\r\n".encode()
