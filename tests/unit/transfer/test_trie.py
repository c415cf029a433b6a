"""policyd's nearest name beside KumoMTA's trie."""

from hypothesis import given
from hypothesis import strategies as st

from policyd.transfer.trie import make_trie
from tests.contract.reference.trie import matching_key

_LABELS = st.sampled_from(["a", "b", "c", "x"])
_NAMES = st.lists(_LABELS, min_size=1, max_size=4).map(".".join)
_KEYS = st.sets(_NAMES | _NAMES.map("*.{}".format) | st.just("*"), max_size=8)


@given(_KEYS, _NAMES)
def test_both_ways_of_looking_are_those_of_the_reference(keys: set[str], name: str) -> None:
    trie = make_trie(keys)
    assert trie.kumomta(name) == matching_key(keys, name, "stock")
    assert trie.policyd(name) == matching_key(keys, name, "nearest")


@given(_KEYS, _NAMES)
def test_wherever_the_two_differ_a_name_of_the_same_kind_is_named(keys: set[str], name: str) -> None:
    trie = make_trie(keys)
    theirs, ours = trie.kumomta(name), trie.policyd(name)
    named = [(trie.kumomta(each), trie.policyd(each)) for each in trie.doubtful_names()]
    assert theirs == ours or (theirs, ours) in named


def test_the_example_of_the_documentation() -> None:
    trie = make_trie({"*.example.com", "a.b.example.com"})
    differing = [name for name in trie.doubtful_names() if trie.kumomta(name) != trie.policyd(name)]
    assert differing == ["x.a.b.example.com", "b.example.com", "x.b.example.com"]
