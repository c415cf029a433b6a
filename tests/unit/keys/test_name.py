"""Names of keys: nothing that comes out of here leads anywhere but below its root."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.errors import KeyInvalid
from policyd.keys import KeyName, key_of, parse_key_ref

CHARACTERS = st.text(st.sampled_from("ab.-_/\\*:%\0 \n\u00e9\u202e~$"), max_size=12)


def test_a_domains_own_key_is_where_kumomta_looks_for_it():
    assert str(key_of("example.com", "s1")) == "default:example.com/s1"
    assert str(key_of("_x.example.com", "2026.Mail", root="acme")) == "acme:_x.example.com/2026.Mail"


def test_a_key_ref_names_a_root_and_a_key_below_it():
    assert parse_key_ref("acme-2:shared/2026a") == KeyName(root="acme-2", name="shared/2026a")


@pytest.mark.parametrize(
    ("domain", "selector"),
    [
        ("", "s1"),
        ("..", "s1"),
        (".", "s1"),
        ("example..com", "s1"),
        ("Example.com", "s1"),
        ("example.com.", "s1"),
        ("*.example.com", "s1"),
        ("[192.0.2.1]", "s1"),
        ("a/b", "s1"),
        ("a" * 64 + ".com", "s1"),
        (".".join(["a" * 50] * 6), "s1"),
        ("example.com", ""),
        ("example.com", ".."),
        ("example.com", "../../etc/shadow"),
        ("example.com", "s1\0"),
        ("example.com", "s1\n"),
        ("example.com", "s 1"),
        ("example.com", "a" * 300),
    ],
)
def test_what_is_no_domain_or_no_selector_makes_no_name(domain, selector):
    with pytest.raises(KeyInvalid):
        key_of(domain, selector)


@pytest.mark.parametrize(
    "text",
    [
        "shared/k",
        "default:",
        ":k",
        "default:/etc/shadow",
        "default:../k",
        "default:a/../../k",
        "default:a//k",
        "default:a/",
        "default:.hidden",
        "default:a/b/c/d/e/f/g/h/i",
        "Default:k",
        "default:k\0",
        "default:k\n",
        "default:" + "k" * 201,
    ],
)
def test_a_key_ref_that_leads_elsewhere_is_refused(text):
    with pytest.raises(KeyInvalid) as caught:
        parse_key_ref(text)
    assert len(str(caught.value)) < 300


@given(CHARACTERS, CHARACTERS, st.one_of(CHARACTERS, st.builds("default:{}".format, CHARACTERS)))
def test_every_name_that_is_accepted_stays_below_its_root(domain, selector, text):
    for make in (lambda: key_of(domain, selector), lambda: parse_key_ref(text)):
        try:
            name = make()
        except KeyInvalid:
            continue
        assert all(part and not part.startswith(".") for part in name.name.split("/"))
        assert name.name.isascii()
        assert name.name.isprintable()
