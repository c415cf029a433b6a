"""Names as strangers and operators write them."""

import pytest

from policyd.policy.names import domain_chain, normalise_domain


@pytest.mark.parametrize(
    ("asked", "normal"),
    [
        ("Example.COM.", "example.com"),
        ("Foo_Bar.known.example", "foo_bar.known.example"),
        ("_dmarc.Example.com", "_dmarc.example.com"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("_x.bücher.example", "_x.xn--bcher-kva.example"),
        ("\uff45xample.com", "example.com"),
        ("bücher\u3002example", "xn--bcher-kva.example"),
        ("", ""),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
        ("*.Example.com", "*.example.com"),
    ],
)
def test_domains_are_looked_up_as_lower_case_a_labels(asked: str, normal: str) -> None:
    assert normalise_domain(asked) == normal
    assert normalise_domain(normal) == normal


@pytest.mark.parametrize(
    ("name", "chain"),
    [
        ("a.b.c", ["a.b.c", "*.b.c", "*.c", "*"]),
        ("c", ["c", "*"]),
        ("", ["*"]),
        ("*", ["*"]),
        ("*.b.c", ["*.b.c", "*.c", "*"]),
        ("[192.0.2.1]", ["*"]),
        ("[ipv6:2001:db8::1]", ["*"]),
        ("a..b", ["*.b", "*"]),
        ("x y.example.com", ["*.example.com", "*.com", "*"]),
        ("a_b.example", ["a_b.example", "*.example", "*"]),
        ("..", ["*"]),
    ],
)
def test_a_name_that_cannot_be_a_row_skips_only_its_exact_tag(name: str, chain: list[str]) -> None:
    assert list(domain_chain(name)) == chain


def test_a_name_too_long_to_be_a_row_still_has_its_wildcards() -> None:
    name = ".".join(["a" * 60] * 5)
    chain = list(domain_chain(name))
    assert name not in chain
    assert chain[0] == "*." + ".".join(["a" * 60] * 4)
