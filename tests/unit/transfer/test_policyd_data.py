"""policyd's own file, beside KumoMTA's."""

import pytest

from tests.unit.transfer.given import problems, read, rows

BASE = '[base]\nselector = "s1"\nheaders = ["From"]\n'


def test_what_it_says_of_signers_stands_instead_of_their_paths() -> None:
    found = read(
        dkim=BASE
        + '[domain."a.example"]\nfilename = "/etc/dkim/a.key"\n'
        + '[domain."b.example"]\nfilename = "/etc/dkim/b.key"\n[signature."us"]\ndomain = "us.example"\n',
        policyd_data="""
        [dkim_domain."a.example"]
        key_root = "acme"
        [dkim_domain."b.example"]
        not_after = 2030-01-01T00:00:00Z
        [dkim_signature."us"]
        key_name = "shared/k"
        not_before = "2026-12-01T06:00:00+00:00"
        """,
    )
    assert problems(found) == []
    assert rows(found, "dkim_domain") == [
        {"domain": "a.example", "key_root": "acme"},
        {
            "domain": "b.example",
            "key_root": "etc-dkim",
            "key_name": "b",
            "not_after": "2030-01-01 00:00:00+00:00",
        },
    ]
    assert rows(found, "dkim_signature")[0]["key_name"] == "shared/k"
    assert [(key.root, key.name) for key in found.wanted_keys] == [
        ("acme", "a.example/s1"),
        ("etc-dkim", "b"),
        ("default", "shared/k"),
    ]


def test_groups_of_nodes_are_files_of_sources_inside_it() -> None:
    found = read(
        policyd_data='[node_group.eu.source."s"]\nsource_address = "10.0.0.1"\n[node_group.eu.pool."p"."s"]\nweight = 2\n'
    )
    assert problems(found) == []
    assert rows(found, "egress_source_group") == [
        {"name": "s", "node_group": "eu", "source_address": "10.0.0.1"}
    ]
    assert rows(found, "egress_pool_group_entry") == [
        {"pool": "p", "node_group": "eu", "source": "s", "weight": 2}
    ]
    assert all(row.only_if_missing for row in found.rows if row.table in ("egress_source", "egress_pool"))
    assert found.kinds == {"policyd"}


def test_settings_and_webhooks_have_their_defaults() -> None:
    found = read(
        policyd_data="""
        no_default_files = true
        [queue_settings]
        on_missing = "stock"
        [dkim_settings]
        key_root = "acme"
        [webhook.w]
        url = "https://a.example"
        events = ["Bounce"]
        tenant = "t"
        """
    )
    assert problems(found) == []
    assert (found.on_missing, found.key_root) == ("stock", "acme")
    (webhook,) = rows(found, "webhook")
    assert (webhook["batch_size"], webhook["insecure"], webhook["headers"]) == (100, False, {})
    assert [(each.table, each.name) for each in found.references] == [("tenant", "t")]


def test_shaping_that_stands_alone_may_repeat_kumomtas_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policyd.transfer.shaping.is_packaged_rule", lambda *_: True)
    rule = "[[provider.x.automation]]\nregex = ['busy']\naction = ['Suspend']\nduration = '2 hours'\n"
    assert rows(read(shaping=rule), "shaping_provider_automation") == []
    alone = read(shaping=rule, policyd_data="no_default_files = true")
    assert len(rows(alone, "shaping_provider_automation")) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[queue_setings]", "unknown section 'queue_setings' in a file of policyd's own; did you mean 'queue_settings'?"),
        ("no_default_files = 1", "must be true or false"),
        ("queue_settings = 1", "must be a table"),
        ('[queue_settings]\non_missing = "drop"', "policyd_data.toml:2: queue_settings.on_missing: must be hold or stock"),
        ('[queue_settings]\ntenant_header = "X"', "KumoMTA's own settings belong into queues.toml"),
        ('[dkim_settings]\nkey_root = "/etc"', "must be the name of a key root"),
        ('[dkim_domain."a.example"]\nkey_root = "acme"', 'adds to [domain."a.example"], which no file of DKIM among these has'),
        ('[dkim_domain."a.example"]\nkey_roof = "acme"', "did you mean 'key_root'?"),
        ('[dkim_domain."a.example"]\nkey_name = "../x"', "must be the name of a key below its root"),
        ('[dkim_domain."a.example"]\nnot_after = "tomorrow"', "must be a time with its zone"),
        ('[dkim_domain."a.example"]\nnot_after = 2030-01-01T00:00:00', "must be a time with its zone"),
        ('[node_group."e u"]\n', "cannot be a group of nodes"),
        ('[node_group.eu.sources."s"]\n', "node_group.eu.sources: unknown section 'sources'"),
        ("[webhook.w]\nurl = 5", "must be text"),
        ('[webhook.w]\nurl = "https://a"\nevents = "Bounce"', "must be a list of record types"),
        ('[webhook.w]\nurll = "https://a"', "a webhook has no 'urll'; did you mean 'url'?"),
        ("[webhook]\nw = 5", "must be a table"),
    ],
)  # fmt: skip
def test_what_it_cannot_say_is_a_problem_at_its_place(text: str, complaint: str) -> None:
    assert any(complaint in each for each in problems(read(policyd_data=text))), problems(
        read(policyd_data=text)
    )
