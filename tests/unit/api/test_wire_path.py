"""What strangers write into a path: every lookup has one canonical path, and nothing but a refusal is raised."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policyd.api.asked import Target
from policyd.errors import LookupInvalid, PolicydError
from policyd.policy.kinds import KINDS
from policyd.policy.lookup import Kind
from policyd.policy.names import domain_chain, normalise_domain
from policyd.policy.node import NodeReport
from policyd.policy.position import Position

# As aiohttp hands it over: bytes that are no UTF-8 come as surrogates.
WIRE = st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")) | st.text(
    alphabet=string.printable + "äß。\uff0e｡İΣ\u200d\x00\udcff", max_size=60
)
NAMES = st.text(alphabet="ab.*_-%/:@&=+?# ÄßİΣσς。\uff0e｡…⒈ａ\u0301\u200d\u00ad", max_size=20) | st.text(
    max_size=20
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(raw=WIRE)
@example(raw="/queue/\udcff")
def test_a_target_is_read_or_refused(raw: str) -> None:
    try:
        target = Target.parse(f"/queue/{raw}")
    except PolicydError:
        return
    for text in (*target.segments, *(part for pair in target.query for part in pair)):
        text.encode()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@given(data=st.data())
def test_the_canonical_path_of_a_lookup_is_read_as_the_same_lookup(kind: Kind, data: st.DataObject) -> None:
    key = None if kind.key is None else data.draw(NAMES)
    given_ = [(each.name, data.draw(NAMES)) for each in kind.parameters if data.draw(st.booleans())]
    _assert_is_a_fixpoint(kind, key, given_)


@pytest.mark.parametrize(
    "name",
    [
        "a..",
        "..",
        ".",
        "a。",
        "a\uff0e",
        "ä｡",
        "a\uff0e.",
        "⒈",
        "\uff25xample.com",
        "xn--",
        "İ",
        "ΑΣ.ΑΣ",
        "*.Ä.",
    ],
)
def test_a_domain_written_in_any_way_has_one_canonical_path(name: str) -> None:
    _assert_is_a_fixpoint(next(kind for kind in KINDS if kind.name == "queue"), name, [])


def _assert_is_a_fixpoint(kind: Kind, key: str | None, parameters: list[tuple[str, str]]) -> None:
    try:
        lookup = kind.read(key, parameters)
    except LookupInvalid:
        return
    target = Target.parse(lookup.path)
    assert target.segments[0] == kind.segment
    again = kind.read(target.segments[1] if kind.key is not None else None, target.query)
    assert again == lookup


@given(name=st.text(alphabet="ab.*_-ÄßΣ。\uff0e｡[]:", max_size=30))
def test_what_a_name_is_looked_for_as_are_row_names_with_the_catch_all_last(name: str) -> None:
    *rows, last = domain_chain(normalise_domain(name))
    assert last == "*"
    for row in rows:
        labels = row.removeprefix("*.").split(".")
        assert all(
            label and set(label) <= set(string.ascii_lowercase + string.digits + "_-") for label in labels
        )


@given(written=st.text(max_size=30) | st.from_regex(r"[0-9]{1,20}-[0-9a-f]{8}\n?", fullmatch=True))
def test_a_position_is_read_as_it_was_written_or_refused(written: str) -> None:
    try:
        position = Position.parse(written)
    except ValueError:
        return
    assert str(position) == written
    assert position.number < 2**63


@given(
    node_id=st.text(max_size=70),
    body=JSON
    | st.dictionaries(
        st.sampled_from(["applied", "group", "kumomta_version", "client_version", "counts", "error"]), JSON
    ),
)
def test_a_report_is_read_or_refused_in_a_sentence(node_id: str, body: object) -> None:
    try:
        NodeReport.parse(node_id, body)
    except LookupInvalid as refusal:
        assert "; allowed: " in str(refusal)  # noqa: PT017  (either outcome is right)
        assert "expected string" not in str(refusal)  # noqa: PT017


@pytest.mark.parametrize(
    "body",
    [
        {"group": "eu west"},
        {"group": ""},
        {"group": 7},
        {"applied": 5},
        {"applied": "5"},
        {"kumomta_version": "v" * 65},
        {"error": "\x00"},
        {"counts": {"hit": True}},
        {"counts": {"hit": -1}},
        {"counts": {"hit": 2**63}},
        {"counts": {str(number): 1 for number in range(101)}},
        [],
        None,
    ],
)
def test_what_the_node_table_would_refuse_is_refused_before_it(body: object) -> None:
    with pytest.raises(LookupInvalid, match="allowed: "):
        NodeReport.parse("node-1", body)


def test_whole_numbers_may_be_written_with_a_fraction_of_nothing() -> None:
    report = NodeReport.parse("node-1", {"counts": {"hit": 3.0, "miss": 0}})
    assert repr(report.counts) == "{'hit': 3, 'miss': 0}"


def test_what_a_newer_node_says_beside_what_is_known_is_left_out() -> None:
    report = NodeReport.parse("mx-1", {"group": "eu", "novelty": {"secret": "canary"}})
    assert report.group == "eu"
    assert "canary" not in repr(report)
