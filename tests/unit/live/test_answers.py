"""The answer cache: what it keeps, what leaves first, and that it never holds more than it may."""

from hypothesis import given
from hypothesis import strategies as st

from policyd.live.answers import Answer, AnswerCache, FileAnswer, beginning, render
from policyd.policy.asking import Layer, Resolution
from policyd.policy.lookup import File
from policyd.policy.position import Position
from policyd.policy.resolving import Resolved

LARGE = 2**20


def made(name: str, *, found: bool = True, valid_until: float | None = None, label: int = 7) -> Answer:
    layers = (Layer(f"tenant/{name}", {("name",): name}),) if found else ()
    return render(
        Resolved(
            resolution=Resolution(layers=layers, valid_until=valid_until),
            tags=(f"tenant/{name}", "tenant/*"),
            present=frozenset(),
            position=Position(label, "0a1b2c3d"),
        )
    )


@given(st.text(), st.booleans(), st.none() | st.floats(0, 2e9), st.integers(0, 2**62))
def test_an_answer_is_kept_as_it_was_made(
    name: str, found: bool, valid_until: float | None, label: int
) -> None:
    cache = AnswerCache(most_bytes=LARGE, none_share=0.5)
    answer = made(name, found=found, valid_until=valid_until, label=label)
    cache.put("/tenant/x", answer)
    again = cache.get("/tenant/x")
    assert again is not None
    assert again.tags == [f"tenant/{name}", "tenant/*"]
    assert (again.body, again.found, again.label, again.valid_until) == (
        answer.body,
        found,
        label,
        valid_until,
    )


def test_only_an_answer_of_that_label_and_without_an_end_has_its_beginning() -> None:
    assert made("a", label=9).pack().startswith(beginning(9))
    assert not made("a", label=8).pack().startswith(beginning(9))
    assert not made("a", label=9, valid_until=1.0).pack().startswith(beginning(9))


def test_what_is_used_stays_and_what_is_not_leaves() -> None:
    cache = AnswerCache(most_bytes=100_000, none_share=0.01)
    cache.put("/tenant/used", made("used"))
    cache.put("/tenant/unused", made("unused"))
    for number in range(2_000):
        cache.put(f"/tenant/{number}", made(str(number)))
        assert cache.get("/tenant/used") is not None
    assert cache.get("/tenant/unused") is None


def test_names_that_do_not_exist_cannot_push_out_those_that_do() -> None:
    cache = AnswerCache(most_bytes=100_000, none_share=0.1)
    cache.put("/tenant/known", made("known"))
    for number in range(2_000):
        cache.put(f"/tenant/{number}", made(str(number), found=False))
    assert cache.get("/tenant/known") is not None
    assert cache.bytes <= 100_000


def test_a_path_has_one_answer_when_its_document_goes_and_comes_back() -> None:
    cache = AnswerCache(most_bytes=LARGE, none_share=0.5)
    for found in (True, False, True, False):
        cache.put("/tenant/a", made("a", found=found))
        again = cache.get("/tenant/a")
        assert again is not None
        assert (again.found, len(cache)) == (found, 1)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 40)), max_size=300))
def test_it_never_holds_more_than_it_may_and_counts_what_it_holds(
    steps: list[tuple[bool, bool, int]],
) -> None:
    cache = AnswerCache(most_bytes=8_000, none_share=0.5)
    for is_put, found, number in steps:
        path = f"/tenant/{number}"
        if is_put:
            cache.put(path, made("a" * number, found=found))
            assert cache.get(path) is not None
        else:
            cache.get(path)
        assert cache.bytes <= 8_000
        assert (cache.bytes > 0) == (len(cache) > 0)
    cache.clear()
    assert (cache.bytes, len(cache)) == (0, 0)


def test_a_file_is_kept_with_its_tags_and_its_type() -> None:
    cache = AnswerCache(most_bytes=LARGE, none_share=0.5)
    resolved = Resolved(
        resolution=Resolution(layers=(Layer("shaping", {("text",): "x"}),)),
        tags=("shaping",),
        present=frozenset({"shaping"}),
        position=Position(7, "0a1b2c3d"),
    )
    cache.put(
        "/shaping.toml", render(resolved, File(media_type="application/toml", write=lambda _: b"x = 1"))
    )
    again = cache.get("/shaping.toml")
    assert isinstance(again, FileAnswer)
    assert (again.body, again.tags, again.media_type) == (b"x = 1", ["shaping"], "application/toml")
    assert cache.kept("/shaping.toml") is None
    cache.put("/shaping.toml", made("shaping", found=False))
    again = cache.get("/shaping.toml")
    assert again is not None
    assert (again.found, len(cache)) == (False, 1)
