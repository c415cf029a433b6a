"""Files of DKIM: what signs with which key, and where that key is."""

from pathlib import Path

import pytest

from policyd.config import KeyRootConfig
from policyd.transfer.dkim import USUAL_HEADERS
from policyd.transfer.findings import WantedKey
from policyd.transfer.reading import Transfer, transfer
from tests.unit.transfer.given import files, notes, problems, read, rows

BASE = '[base]\nselector = "s1"\nheaders = ["From", "To"]\n'


def places(found: Transfer) -> dict[str, tuple[object, object]]:
    return {
        str(row["domain"]): (row.get("key_root"), row.get("key_name")) for row in rows(found, "dkim_domain")
    }


def sections(found: Transfer) -> list[str]:
    return ["\n".join(root.section()) for root in found.key_roots]


def test_sections_become_rows() -> None:
    found = read(
        dkim="""
        [base]
        selector = "s1"
        headers = ["From", "To"]
        over_sign = true
        expiration = 3600
        additional_signatures = ["us", "them"]
        [domain."A.example."]
        algo = "ed25519"
        header_canonicalization = "Simple"
        [domain."*.a.example"]
        selector = "s2"
        [signature."them"]
        domain = "them.example"
        policy = "OnlyIfMissingDomainBlock"
        [signature."us"]
        domain = "US.example"
        """
    )
    assert problems(found) == []
    assert rows(found, "dkim_settings") == [
        {"selector": "s1", "headers": ["From", "To"], "over_sign": True, "expiration": 3600}
    ]
    assert rows(found, "dkim_domain") == [
        {"domain": "a.example", "header_canonicalization": "Simple", "algorithm": "ed25519"},
        {"domain": "*.a.example", "selector": "s2"},
    ]
    assert rows(found, "dkim_signature") == [
        {"name": "them", "domain": "them.example", "policy": "OnlyIfMissingDomainBlock"},
        {"name": "us", "domain": "us.example", "policy": "Always"},
    ]
    assert rows(found, "dkim_additional_signature") == [
        {"position": 0, "signature": "us"},
        {"position": 1, "signature": "them"},
    ]
    assert [note.sentence for note in notes(found, "normalised")] == [
        "'A.example.' becomes 'a.example', which is how kumod asks for it",
        "'US.example' becomes 'us.example'",
    ]
    assert [(key.root, key.name, key.algorithm) for key in found.wanted_keys] == [
        ("default", "a.example/s1", "ed25519"),
        ("default", "them.example/s1", None),
        ("default", "us.example/s1", None),
    ]


def test_later_files_replace_field_by_field_and_lists_as_a_whole() -> None:
    found = read(
        dkim_a=BASE + '[domain."a.example"]\nheaders = ["From", "To", "Date"]\nover_sign = true\n',
        dkim_b='[base]\nheaders = ["From"]\n[domain."a.example"]\nheaders = ["From"]\n',
    )
    assert rows(found, "dkim_settings") == [{"selector": "s1", "headers": ["From"]}]
    assert rows(found, "dkim_domain") == [{"domain": "a.example", "headers": ["From"], "over_sign": True}]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[domain."a.example"]\nalgo = "sha256"', 'dkim.toml:1: domain."a.example": has no selector, and there is none in [base]'),
        ('[base]\nadditional_signatures = ["x"]', "signature 'x' is not defined in these files"),
        ('[signatures."x"]\ndomain = "a"\n[base]\nselector = "s"', "unknown section 'signatures' in a file of DKIM; did you mean 'signature'?"),
        (BASE + '[signature."x"]\nover_sign = true', "a signature needs a domain to sign for"),
        (BASE + '[signature."x"]\ndomain = "*.a.example"', "a signature needs a domain to sign for"),
        (BASE + '[domain."[10.0.0.1]"]', "cannot be the name of a DKIM domain"),
        (BASE + '[domain."a.example"]\nfilename = "keys/a.key"', "write the whole path"),
        (BASE + '[domain."a.example"]\nfilename = "/etc/dkim/a key.pem"', "cannot be the name of a key"),
        (BASE + '[domain."a.example"]\nfilename = 5', "must be the name of a file"),
        (BASE + '[domain]\n"a.example" = 5', "must be a table of options"),
    ],
)  # fmt: skip
def test_what_kumomta_could_not_load_or_no_row_could_say_is_a_problem(text: str, complaint: str) -> None:
    assert any(complaint in each for each in problems(read(dkim=text))), problems(read(dkim=text))


def test_a_path_becomes_a_key_root_and_a_name() -> None:
    found = read(
        dkim=BASE
        + """
        [domain."a.example"]
        filename = "/opt/kumomta/etc/dkim/shared/2026a.key"
        [domain."b.example"]
        filename = "/etc/dkim//2/../b.key"
        [domain."c.example"]
        filename = "/etc/dkim/c.pem"
        [domain."d.example"]
        filename = "/etc/dkim/d.key"
        """.replace("        ", "")
    )
    assert places(found) == {
        "a.example": (None, "shared/2026a"),
        "b.example": ("etc-dkim", "b"),
        "c.example": ("etc-dkim-pem", "c"),
        "d.example": ("etc-dkim", "d"),
    }
    assert sections(found) == [
        '[keys.etc-dkim]\ndir = "/etc/dkim"',
        '[keys.etc-dkim-pem]\ndir = "/etc/dkim"\nsuffix = ".pem"',
    ]


def test_keys_in_vault_are_below_the_default_root_or_the_whole_mount() -> None:
    found = read(
        dkim="""
        [base]
        selector = "s1"
        headers = ["From"]
        vault_mount = "secret"
        vault_path_prefix = "dkim/"
        [domain."a.example"]
        [domain."b.example"]
        filename = "dkim/shared/k1"
        [domain."c.example"]
        filename = "other/k2"
        """
    )
    assert problems(found) == []
    assert places(found) == {
        "a.example": (None, None),
        "b.example": (None, "shared/k1"),
        "c.example": ("secret-all", "other/k2"),
    }
    assert sections(found) == [
        '[keys.default]\nkind = "vault"\nmount = "secret"\nprefix = "dkim"',
        '[keys.secret-all]\nkind = "vault"\nmount = "secret"\nprefix = ""',
    ]


def test_a_path_below_a_root_that_is_configured_is_of_that_root() -> None:
    roots = {
        "default": KeyRootConfig(dir=Path("/srv/keys")),
        "acme": KeyRootConfig(dir=Path("/srv/keys/acme"), suffix=".pem"),
        "etc-dkim": KeyRootConfig(dir=Path("/elsewhere")),
    }
    text = BASE + "".join(
        f'[domain."{name}.example"]\nfilename = "{path}"\n'
        for name, path in (
            ("a", "/srv/keys/acme/k.pem"),
            ("b", "/srv/keys/acme/k.key"),
            ("c", "/etc/dkim/k.key"),
        )
    )
    found = transfer(files(dkim=text), key_roots=roots)
    assert places(found) == {
        "a.example": ("acme", "k"),
        "b.example": (None, "acme/k"),
        "c.example": ("etc-dkim-2", "k"),
    }
    assert sections(found) == ['[keys.etc-dkim-2]\ndir = "/etc/dkim"']


def test_a_path_in_vault_is_of_the_root_that_is_configured_for_it() -> None:
    roots = {
        "default": KeyRootConfig(),
        "acme": KeyRootConfig(kind="vault", mount="secret", prefix="customers/acme"),
    }
    text = '[base]\nselector = "s1"\nvault_mount = "secret"\n[domain."a.example"]\nfilename = "customers/acme/k"\n'
    found = transfer(files(dkim=text), key_roots=roots)
    assert places(found) == {"a.example": ("acme", "k")}
    assert len(found.key_roots) == 1


def test_surprises_are_told() -> None:
    found = read(
        dkim="""
        [base]
        selector = "s1"
        over_sign = true
        additional_signatures = ["x", "x"]
        [domain."a.example"]
        over_sign = false
        [signature."x"]
        domain = "x.example"
        [signature."y"]
        domain = "y.example"
        """
    )
    assert rows(found, "dkim_settings")[0]["headers"] == list(USUAL_HEADERS)
    assert [note.sentence.partition(",")[0] for note in notes(found, "surprise")] == [
        "has no headers",
        "lists 'x' twice",
        "false does not override base.over_sign = true",
        "is not among base.additional_signatures",
    ]
    assert len(rows(found, "dkim_additional_signature")) == 1


def test_a_wildcard_that_kumomta_cannot_come_back_to_is_named() -> None:
    found = read(dkim=BASE + '[domain."*.a.example"]\n[domain."x.b.a.example"]\n')
    (note,) = notes(found, "trie")
    assert note.details[0] == "b.a.example: KumoMTA signs as nothing says, policyd as *.a.example says"


def test_keys_of_a_wildcard_are_nobodys_to_look_for() -> None:
    found = read(dkim=BASE + '[domain."*.a.example"]\n[domain."*.b.example"]\nfilename = "/k/b.key"\n')
    assert [(key.root, key.name) for key in found.wanted_keys] == [("k", "b")]
    assert all(isinstance(key, WantedKey) for key in found.wanted_keys)
