"""Documents by the names that people write."""

import pytest

from policyd.errors import PolicydError
from policyd.policy.document_names import nearest, read_name, short

KINDS = (
    "queue",
    "egress_pool",
    "egress_source",
    "listener_domain",
    "tenant",
    "api_token",
    "shaping",
    "dkim_domain",
)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("queue/gmail.com", ("queue/gmail.com",)),
        ("/Queue/GMAIL.com./", ("queue/GMAIL.com.", "queue/gmail.com")),
        ("tenant/a", ("tenant/a",)),
        ("tenant/a/b", ("tenant/a%2Fb", "tenant/a/b")),
        ("egress-pool/bulk", ("egress_pool/bulk", "egress_pool/*/bulk", "egress_pool/eu/bulk")),
        ("egress_pool/*/bulk", ("egress_pool/*%2Fbulk", "egress_pool/*/bulk", "egress_pool/*/*%2Fbulk", "egress_pool/eu/*%2Fbulk")),
        ("listener-domain/A.example", ("listener_domain/A.example", "listener_domain/a.example", "listener_domain/*/A.example", "listener_domain/*/a.example", "listener_domain/eu/A.example", "listener_domain/eu/a.example")),
        ("token/mx-1", ("api_token/mx-1",)),
        ("shaping.json", ("shaping",)),
        ("dkim/münchen.example", ("dkim_domain/münchen.example", "dkim_domain/xn--mnchen-3ya.example")),
    ],
)  # fmt: skip
def test_a_name_stands_for_the_tags_that_may_be_meant(text, tags):
    assert read_name(text, KINDS).tags(("eu",)) == tags


@pytest.mark.parametrize(("text", "said"), [("quue/x", "did you mean queue?"), ("pols/x", "did you mean pool?"), ("", "''"), ("x" * 90, "x" * 40 + "'")])  # fmt: skip
def test_a_kind_that_is_none_is_refused_with_the_nearest(text, said):
    with pytest.raises(PolicydError, match="there is no kind of documents") as caught:
        read_name(text, KINDS)
    assert said in str(caught.value)


def test_a_tag_is_shown_as_people_write_it():
    assert [short(tag) for tag in ("egress_pool/*/bulk", "egress_pool/eu/bulk", "queue/*/x", "shaping")] == [
        "egress_pool/bulk",
        "egress_pool/eu/bulk",
        "queue/*/x",
        "shaping",
    ]


def test_the_nearest_is_one_that_is_like_it_and_not_itself():
    tags = ["egress_pool/*/bulk", "egress_pool/*/vip", "queue/gmail.com"]
    assert nearest(read_name("pool/bluk", KINDS), tags) == "egress_pool/bulk"
    assert nearest(read_name("queue/gmial.com", KINDS), tags) == "queue/gmail.com"
    assert nearest(read_name("queue/gmail.com", KINDS), tags) is None
    assert nearest(read_name("pool/quite-other", KINDS), tags) is None
