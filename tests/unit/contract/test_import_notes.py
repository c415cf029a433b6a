"""What an import says about the trie, held against the models: nobody is surprised after the change."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policyd.transfer.files import HelperKind, read_helper_file
from policyd.transfer.reading import transfer
from tests.contract.questions import expected
from tests.contract.reference import listener_domains
from tests.contract.reference.files import Fields, Policy, merged_deep, table
from tests.contract.reference.trie import matching_key, normalised
from tests.contract.strategies import LISTENERS, listener_domain_files, names, names_near, queue_files
from tests.contract.toml_writer import to_toml


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_listener_domain_that_answers_where_kumomta_does_not_is_named(data):
    files = data.draw(listener_domain_files())
    known = {domain for domains in listener_domains.merged(files).values() for domain in domains}
    named = entries_named("listener_domains", files)
    for name in data.draw(st.lists(names_near(known) | names(), min_size=8, max_size=8)):
        for listener in LISTENERS:
            stock, nearest = (
                listener_domains.entry(files, normalised(name), listener, variant)
                for variant in ("stock", "nearest")
            )
            if stock != nearest:
                assert nearest is not None
                assert nearest[1] in named, (name, listener)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_queue_that_answers_where_kumomta_does_not_is_named(data):
    files = data.draw(queue_files())
    known = table(merged_deep(files).get("queue"))
    # Such a key hides `*` from the name `default`, and so from the default: of this, too far-fetched, nothing is said.
    assume(not any(key.endswith(".default") for key in known))
    named = entries_named("queues", files)
    for name in data.draw(st.lists(names_near(set(known)) | names(), min_size=8, max_size=8)):
        domain = normalised(name)
        key = matching_key(known, domain, "nearest")
        for tenant in [None, *_tenants_inside(known, key)]:
            question = {"kind": "queue", "domain": domain, "tenant": tenant, "campaign": None}
            policy: Policy = {"listener_domains": [], "sources": [], "queues": files, "dkim": []}
            stock, nearest = (expected(question, policy, variant) for variant in ("stock", "nearest"))
            # `default` is a label of KumoMTA's trie too, but no name that mail is sent to ends in it.
            if stock != nearest and domain.split(".")[-1] != "default":
                assert key in named, (name, tenant)


def entries_named(kind: HelperKind, files: list[Fields]) -> set[str]:
    read = [read_helper_file(f"{number}.toml", to_toml(file), kind) for number, file in enumerate(files)]
    return {note.origin.key[-1] for note in transfer(read).notes if note.topic == "trie"}


def _tenants_inside(queues: Fields, key: str | None) -> list[str]:
    return [name for name, value in table(queues.get(key or "")).items() if isinstance(value, dict)]
