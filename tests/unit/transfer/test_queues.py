"""Files of queues: tenants, campaigns, domains."""

import pytest
from hypothesis import given

from policyd.transfer.files import read_helper_file
from policyd.transfer.findings import Json
from policyd.transfer.reading import Transfer, transfer
from tests.contract.reference.files import merged_deep, table
from tests.contract.strategies import File, queue_files
from tests.contract.toml_writer import to_toml
from tests.unit.transfer.given import notes, problems, read, rows


def test_sections_become_rows_of_their_level() -> None:
    found = read(
        queues="""
        tenant_header = "X-Tenant"
        remove_tenant_header = true
        default_tenant = "acme"
        [tenant."acme"]
        egress_pool = "p"
        max_age = "2 days"
        require_authz = ["bob"]
        overall_max_message_rate = "100/s"
        [tenant."acme".campaigns."sale"]
        overall_max_message_rate = "10/s"
        [queue.default]
        max_age = 3600
        [queue."a.com"]
        routing_domain = "b.com"
        [queue."a.com"."acme"]
        max_message_rate = "5/m"
        [queue."a.com"."acme"."sale"]
        egress_pool = "q"
        [queue."c.com"."acme"."sale"]
        max_age = "1h"
        """
    )
    assert rows(found, "queue_settings") == [
        {"tenant_header": "X-Tenant", "remove_tenant_header": True, "default_tenant": "acme"}
    ]
    assert rows(found, "tenant") == [
        {
            "name": "acme",
            "egress_pool": "p",
            "options": {"max_age": "2 days"},
            "require_authz": ["bob"],
            "overall_max_message_rate": "100/s",
        }
    ]
    assert rows(found, "tenant_campaign") == [
        {"tenant": "acme", "campaign": "sale", "overall_max_message_rate": "10/s"}
    ]
    assert rows(found, "queue") == [
        {"domain": "default", "options": {"max_age": 3600}},
        {"domain": "a.com", "routing_domain": "b.com", "options": {}},
        {"domain": "c.com", "options": {}},
    ]
    assert rows(found, "queue_tenant") == [
        {"domain": "a.com", "tenant": "acme", "options": {"max_message_rate": "5/m"}},
        {"domain": "c.com", "tenant": "acme", "options": {}},
    ]
    assert rows(found, "queue_campaign") == [
        {"domain": "a.com", "tenant": "acme", "campaign": "sale", "egress_pool": "q", "options": {}},
        {"domain": "c.com", "tenant": "acme", "campaign": "sale", "options": {"max_age": "1h"}},
    ]
    assert {(each.table, each.name) for each in found.references} == {
        ("tenant", "acme"),
        ("egress_pool", "p"),
        ("egress_pool", "q"),
    }
    assert not found.problems


def test_a_table_under_a_key_that_is_no_option_is_a_tenant_and_anything_else_an_unknown_option() -> None:
    found = read(
        queues="""
        [queue."a.com"]
        retri_interval = "5m"
        list = ["a"]
        [queue."a.com".max_age]
        [queue."a.com".protocol.smtp]
        mx_list = ["mx"]
        [[queue."a.com".shrink_policy]]
        interval = "1h"
        policy = "NoShrink"
        """
    )
    assert [row["tenant"] for row in rows(found, "queue_tenant")] == ["max_age"]
    (check,) = [check for check in found.checks if "retri_interval" in check.record]
    assert check.record.keys() == {"retri_interval", "list", "protocol", "shrink_policy"}
    assert check.origins["retri_interval"].line == 3


def test_the_helpers_inner_spelling_of_tenants_and_campaigns_is_read_too() -> None:
    found = read(queues='[queue."a.com".tenants.t.campaigns.c]\nmax_age = 1\n')
    assert [row["tenant"] for row in rows(found, "queue_tenant")] == ["t"]
    assert [row["campaign"] for row in rows(found, "queue_campaign")] == ["c"]


def test_a_mistyped_protocol_is_a_tenant_as_in_kumomta_and_is_noted() -> None:
    found = read(queues='[queue."a.com".protocl.smtp]\n')
    assert [row["tenant"] for row in rows(found, "queue_tenant")] == ["protocl"]
    assert "did you mean 'protocol'?" in notes(found, "surprise")[0].sentence


def test_lists_of_two_files_merge_index_by_index_and_that_is_said() -> None:
    found = read(
        queues_a='[tenant."t"]\nrequire_authz = ["a", "b"]\n',
        queues_b='[tenant."t"]\nrequire_authz = ["c"]\n',
    )
    assert rows(found, "tenant")[0]["require_authz"] == ["c", "b"]
    (note,) = notes(found, "surprise")
    assert str(note.origin) == "queues_b.toml:2: tenant.t.require_authz"
    assert '["c", "b"]' in note.sentence


def test_a_longer_list_that_simply_replaces_is_no_surprise() -> None:
    found = read(
        queues_a='[tenant."t"]\nrequire_authz = ["a"]\n',
        queues_b='[tenant."t"]\nrequire_authz = ["b", "c"]\n',
    )
    assert rows(found, "tenant")[0]["require_authz"] == ["b", "c"]
    assert not notes(found, "surprise")


def _stored(found: Transfer) -> dict[tuple[str, ...], dict[str, Json]]:
    """The rows by the keys of the file, with everything that they say as options."""
    keys = {
        "queue": ("domain",),
        "queue_tenant": ("domain", "tenant"),
        "queue_campaign": ("domain", "tenant", "campaign"),
    }
    stored: dict[tuple[str, ...], dict[str, Json]] = {}
    for kind, columns in keys.items():
        for row in rows(found, kind):
            options = row.pop("options")
            assert isinstance(options, dict)
            place = tuple(str(row.pop(column)) for column in columns)
            stored[place] = {**row, **options}
    return stored


def _expected(queues: dict[str, object]) -> dict[tuple[str, ...], dict[str, object]]:
    """The merged files flat, without what KumoMTA ignores."""
    flat: dict[tuple[str, ...], dict[str, object]] = {}

    def walk(place: tuple[str, ...], fields: dict[str, object]) -> None:
        inner = {
            name: table(value)
            for name, value in fields.items()
            if isinstance(value, dict) and name != "protocol"
        }
        ignored = {*inner, "overall_max_message_rate"}
        flat[place] = {name: value for name, value in fields.items() if name not in ignored}
        for name, section in inner.items():
            walk((*place, name), section)

    for domain, fields in queues.items():
        walk((domain,), table(fields))
    if "default" not in queues and ("*",) in flat:
        flat["default",] = flat["*",]
    return {place: fields for place, fields in flat.items() if place[0] != "default" or len(place) == 1}


@given(queue_files())
def test_rows_are_what_the_reference_merges(raw: list[File]) -> None:
    found = transfer([read_helper_file(f"{i}.toml", to_toml(file), "queues") for i, file in enumerate(raw)])
    assert not found.problems
    whole = merged_deep(raw)
    assert _stored(found) == _expected(table(whole.get("queue")))
    tenants = {str(row["name"]): row for row in rows(found, "tenant")}
    for name, fields in table(whole.get("tenant")).items():
        options = tenants[name].pop("options")
        assert isinstance(options, dict)
        told = {k: v for k, v in table(fields).items() if k not in {"campaigns", "routing_domain"}}
        assert {
            k: v for k, v in {**tenants[name], **options}.items() if k not in {"name", "routing_domain"}
        } == told


def test_a_star_without_a_default_is_the_default_too_without_its_tenants() -> None:
    found = read(queues='[queue."*"]\negress_pool = "p"\n[queue."*"."t"]\nmax_age = 1\n')
    assert rows(found, "queue") == [
        {"domain": "*", "egress_pool": "p", "options": {}},
        {"domain": "default", "egress_pool": "p", "options": {}},
    ]
    assert [row["domain"] for row in rows(found, "queue_tenant")] == ["*"]
    assert "takes this one for the default too" in notes(found, "surprise")[0].sentence


def test_a_star_beside_a_default_is_just_a_wildcard() -> None:
    found = read(queues='[queue."*"]\negress_pool = "p"\n[queue.default]\nmax_age = 1\n')
    assert {"domain": "default", "options": {"max_age": 1}} in rows(found, "queue")


def test_what_kumomta_ignores_is_noted_checked_and_left_out() -> None:
    found = read(
        queues="""
        [tenant."t".campaigns."c"]
        max_age = "1 day"
        routing_domain = "a.com"
        [queue."a.com"]
        overall_max_message_rate = "5/m"
        [queue.default."t"]
        max_age = "2 days"
        """
    )
    assert [".".join(note.origin.key) for note in notes(found, "ignored")] == [
        "tenant.t.campaigns.c.max_age",
        "tenant.t.campaigns.c.routing_domain",
        "queue.a.com.overall_max_message_rate",
        "queue.default.t",
    ]
    assert rows(found, "tenant_campaign") == []
    assert rows(found, "queue_tenant") == []
    checked = [check.record for check in found.checks]
    assert {"max_age": "1 day"} in checked
    assert {"overall_max_message_rate": "5/m"} in checked


def test_a_tenants_own_routing_domain_is_left_to_the_check_which_knows_no_such_option() -> None:
    found = read(queues='[tenant."t"]\nrouting_domain = "a.com"\n')
    assert {"routing_domain": "a.com"} in [
        check.record for check in found.checks if check.object == "queue_config"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tennant_header = 'X'\n[queue.default]\nmax_age = 1", "unknown setting 'tennant_header'"),
        ("tenant_header = 'X Y'", "must be the name of a header"),
        ("remove_tenant_header = 'yes'", "must be true or false"),
        ("default_tenant = ''", "must be the name of a tenant"),
        ("tenant_header = 'X'\ntenant = 3", "must be a table of tables"),
        ("[queue]\na = 3\n[tenant.x]", "must be a table of options"),
        ("[tenant]\na = 3\n[queue.x]", "must be a table of options"),
        ("[tenant.t]\ncampaigns = 3", "must be a table of tables"),
        ("[tenant.t.campaigns]\nc = 3", "must be a table of options"),
        ("[tenant.'a@b']", "reads '@' in a queue's name as a separator"),
        ("[tenant.'']", "cannot be the name of a tenant"),
        ("[tenant.t.campaigns.'a:b']", "reads ':' in a queue's name as a separator"),
        ("[queue.'a.com'.'x!y']", "reads '!' in a queue's name as a separator"),
        ("[queue.'a.com'.t.'x!y']", "cannot be the name of a campaign"),
        ("[queue.'a.com']\nrouting_domain = 'a b'", "must be a domain"),
        ("[queue.'a.com']\negress_pool = 'policyd-hold'", "reserved"),
        ("[queue.'Default']\nmax_age = 1", "is called 'default', in lower case"),
        ("[queue.'default.']\nmax_age = 1", "is called 'default', in lower case"),
        ("[queue.'[10.0.0.1]']\nmax_age = 1", "cannot be the name of a queue"),
        ("[queue.'a.com']\n[queue.'A.com']", "are the same domain, a.com"),
    ],
)
def test_what_cannot_be_is_a_problem_with_its_place(text: str, said: str) -> None:
    (problem,) = problems(read(queues=text))
    assert said in problem
    assert problem.startswith("queues.toml:")


@pytest.mark.parametrize(
    ("text", "cases"),
    [
        ("[queue.default]\negress_pool = 'p'", None),
        ("[queue.default]\nmax_age = 1", ["any other domain, no tenant"]),
        ("[queue.'*']\negress_pool = 'p'", None),
        ("default_tenant = 't'\n[tenant.t]\negress_pool = 'p'\n[queue.'a.com']", None),
        ("[tenant.t]\negress_pool = 'p'", ["any other domain, no tenant"]),
        (
            "default_tenant = 't'\n[tenant.t]\n[queue.'a.com']\negress_pool = 'p'\n[queue.'b.com']",
            ["queue 'b.com', tenant 't'", "any other domain, tenant 't'"],
        ),
        ("default_tenant = 't'\n[tenant.t]\n[queue.'*'.t]\negress_pool = 'p'\n[queue.default]", None),
        ("[queue.default.protocol]\nmaildir_path = '/x'", None),
    ],
)
def test_mail_for_which_nothing_names_a_pool_is_found(text: str, cases: list[str] | None) -> None:
    found = read(queues=text)
    assert (list(found.host_address.details) if found.host_address else None) == cases


def test_without_files_of_queues_nothing_is_said_about_pools() -> None:
    assert read(sources='[source."a"]').host_address is None


def test_the_wildcard_that_kumomta_does_not_go_back_to_is_named() -> None:
    found = read(queues='[queue."*.a.com"]\nmax_age = 1\n[queue."x.b.a.com"]\nmax_age = 2\n')
    (note,) = notes(found, "trie")
    assert note.origin.key == ("queue", "*.a.com")
    assert "b.a.com: KumoMTA answers nothing but the default, policyd answers *.a.com" in note.details


def test_going_back_to_a_star_that_is_the_default_too_makes_no_difference() -> None:
    assert not notes(read(queues='[queue."*"]\nmax_age = 1\n[queue."a.com"]\n'), "trie")
    with_tenant = read(queues='[queue."*"."t"]\nmax_age = 1\n[queue."a.com"]\n')
    assert notes(with_tenant, "trie")[0].origin.key == ("queue", "*")


def test_the_default_is_a_label_that_hides_the_star_below_it_in_kumomta() -> None:
    (note,) = notes(read(queues='[queue."*"]\nmax_age = 1\n[queue.default]\nmax_age = 2\n'), "trie")
    assert note.details == ("x.default: KumoMTA answers nothing but the default, policyd answers *",)


def test_a_star_that_a_longer_name_hides_from_the_default_is_named() -> None:
    (note,) = notes(read(queues='[queue."*"]\nmax_age = 1\n[queue."a.default"]\n'), "trie")
    assert "default: KumoMTA answers nothing but the default, policyd answers *" in note.details
