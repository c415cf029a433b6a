"""Files of egress sources and pools."""

import pytest
from hypothesis import given

from policyd.transfer.files import read_helper_file
from policyd.transfer.reading import transfer
from tests.contract.reference import sources as reference
from tests.contract.strategies import File, source_files
from tests.contract.toml_writer import to_toml
from tests.unit.transfer.given import notes, problems, read, rows


def test_later_files_override_a_source_field_by_field_and_add_to_a_pool() -> None:
    found = read(
        sources_a='[source."a"]\nsource_address = "10.0.0.1"\nremote_port = 25\n[pool."p"."a"]\nweight = 2',
        sources_b='[source."a"]\nremote_port = 2025\n[source."b"]\n[pool."p"."b"]\n[pool."q"]',
    )
    assert rows(found, "egress_source") == [
        {"name": "a", "source_address": "10.0.0.1", "remote_port": 2025},
        {"name": "b"},
    ]
    assert rows(found, "egress_pool") == [{"name": "p"}, {"name": "q"}]
    assert rows(found, "egress_pool_entry") == [
        {"pool": "p", "source": "a", "weight": 2},
        {"pool": "p", "source": "b", "weight": None},
    ]
    assert not found.notes


def test_a_source_listed_twice_is_one_entry_with_the_summed_weight() -> None:
    found = read(
        sources_a='[source."a"]\n[pool."p"."a"]\nweight = 2',
        sources_b='[pool."p"."a"]\n',
        sources_c='[pool."p"."a"]\nweight = 4',
    )
    assert rows(found, "egress_pool_entry") == [{"pool": "p", "source": "a", "weight": 7}]
    (note,) = notes(found, "surprise")
    assert "the weights' sum, 7" in note.sentence
    assert "sources_a.toml:2: pool.p.a and sources_b.toml:1: pool.p.a" in note.sentence


@given(source_files())
def test_rows_are_what_the_reference_merges(raw: list[File]) -> None:
    found = transfer([read_helper_file(f"{i}.toml", to_toml(file), "sources") for i, file in enumerate(raw)])
    assert not found.problems
    assert {row["name"]: row for row in rows(found, "egress_source")} == reference.sources(raw)
    pools: dict[object, dict[object, object]] = {row["name"]: {} for row in rows(found, "egress_pool")}
    for row in rows(found, "egress_pool_entry"):
        pools[row["pool"]][row["source"]] = row["weight"]
    assert pools == {name: reference.pool(raw, name) for name in reference.pools(raw)}


def test_a_name_inside_a_section_is_what_the_source_is_called() -> None:
    found = read(sources='[source."ip-1"]\nname = "mta-1"\n[pool."p"."ip-1"]\n')
    assert rows(found, "egress_source") == [{"name": "mta-1"}]
    assert rows(found, "egress_pool_entry") == [{"pool": "p", "source": "mta-1", "weight": None}]
    assert "'mta-1'" in notes(found, "normalised")[0].sentence


def test_two_sections_of_one_name_are_refused() -> None:
    (problem,) = problems(read(sources='[source."a"]\n[source."b"]\nname = "a"'))
    assert problem == "sources.toml:2: source.b: sections 'b' and 'a' are both the source 'a'"


def test_a_member_without_a_source_is_a_reference_to_the_database() -> None:
    (reference_,) = read(sources='[pool."p"."nobody"]\nweight = 3').references
    assert (reference_.table, reference_.name) == ("egress_source", "nobody")
    assert str(reference_.problem()) == (
        "sources.toml:1: pool.p.nobody: egress source 'nobody' is defined neither in the files nor in the database"
    )


def test_the_hosts_own_address_is_left_out_as_a_source_or_pool_and_welcome_in_a_pool() -> None:
    found = read(sources='[source."unspecified"]\n[pool."unspecified"."a"]\n[pool."p"."unspecified"]\n')
    assert rows(found, "egress_source") == []
    assert rows(found, "egress_pool_entry") == [{"pool": "p", "source": "unspecified", "weight": None}]
    assert not found.references
    assert [note.origin.key for note in notes(found, "ignored")] == [
        ("source", "unspecified"),
        ("pool", "unspecified"),
    ]


def test_the_pool_that_policyd_holds_mail_in_is_reserved() -> None:
    assert "reserved" in problems(read(sources='[pool."policyd-hold"]'))[0]


def test_a_ttl_is_left_out() -> None:
    found = read(sources='[source."a"]\nttl = "5m"\n[pool."p"]\nttl = "5m"\n')
    assert rows(found, "egress_source") == [{"name": "a"}]
    assert rows(found, "egress_pool_entry") == []
    assert [note.origin.line for note in notes(found, "ignored")] == [2, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[sorce."a"]\n[source."b"]\nx = 1',
            "unknown section 'sorce' in a file of sources; did you mean 'source'?",
        ),
        ('[source."a"]\n[pool."p"."a"]\nwait = 1', "unknown option 'wait'"),
        ('[source."a"]\n[pool."p"]\na = 3', "a pool's entry must be a table"),
        ("[source]\na = 3\n[pool.p.a]", "a source must be a table"),
        ("source = 3\n[pool.p.a]", "'source' must be a table of sources"),
        ('[source."a "]', "cannot be the name of an egress source"),
        ("[source.a]\n[pool.p.a]\nweight = 3_000_000_000", "more than policyd can store"),
        ("[source.a]\nname = 1", "a source's name must be a string"),
    ],
)
def test_what_kumomta_would_refuse_is_a_problem_with_its_place(text: str, said: str) -> None:
    (problem,) = problems(read(sources=text))
    assert said in problem
    assert problem.startswith("sources.toml:")


@pytest.mark.parametrize(
    "key_source",
    [
        '"canary"',
        '{ key_data = "canary" }',
        '{ vault_mount = "canary", vault_path = "canary" }',
        '{ event_name = "canary", event_args = ["canary"] }',
    ],
)
def test_a_secret_becomes_a_name_and_is_nowhere(key_source: str) -> None:
    found = read(
        sources=f'[source."ip 1/x"]\nsocks5_proxy_username = "me"\nsocks5_proxy_password = {key_source}'
    )
    (row,) = rows(found, "egress_source")
    assert row["socks5_proxy_password"] == {"secret": "socks5_proxy_password_ip_1_x"}
    assert found.checks[0].record["socks5_proxy_password"] == row["socks5_proxy_password"]
    assert "['socks5_proxy_password_ip_1_x'] = '…'," in found.secrets_line()
    assert "canary" not in repr(found) + found.secrets_line()


@pytest.mark.parametrize("value", ["1", '["canary"]', '{ key_dat = "canary" }'])
def test_a_bad_key_source_is_refused_without_being_shown(value: str) -> None:
    found = read(sources=f'[source."a"]\nsocks5_proxy_password = {value}')
    assert "is no KeySource" in problems(found)[0]
    assert "canary" not in repr(found)


def test_secrets_of_similar_sources_have_names_of_their_own() -> None:
    found = read(
        sources="".join(
            f'[source."{name}"]\nsocks5_proxy_password = "x"\n' for name in ("a-b", "a b", "a/b" + "c" * 90)
        )
    )
    names = [secret.name for secret in found.secrets]
    assert len(set(names)) == 3
    assert all(len(name) <= 64 for name in names)


def test_a_reference_to_a_secret_stays_what_it_is() -> None:
    found = read(sources='[source."a"]\nsocks5_proxy_password = { secret = "proxy" }')
    assert rows(found, "egress_source")[0]["socks5_proxy_password"] == {"secret": "proxy"}
    assert not found.secrets


def test_for_a_group_of_nodes_rows_are_the_groups_with_base_rows_in_case_there_are_none() -> None:
    text = '[source."a"]\nsource_address = "10.0.0.1"\n[pool."p"."a"]\nweight = 2'
    found = read(node_group="eu", sources=text)
    assert rows(found, "egress_source_group") == [
        {"name": "a", "source_address": "10.0.0.1", "node_group": "eu"}
    ]
    assert rows(found, "egress_pool_group") == [{"name": "p", "node_group": "eu"}]
    assert rows(found, "egress_pool_group_entry") == [
        {"pool": "p", "source": "a", "weight": 2, "node_group": "eu"}
    ]
    assert {row.table for row in found.rows if row.only_if_missing} == {
        "egress_source",
        "egress_pool",
        "egress_pool_entry",
    }


def test_only_sources_can_be_of_a_group_and_groups_have_simple_names() -> None:
    assert (
        "only sources and pools" in problems(read(node_group="eu", queues="[queue.default]\nmax_age = 1"))[0]
    )
    assert "cannot be a group of nodes" in problems(read(node_group="e u", sources='[source."a"]'))[0]
