"""What is wrong with shaping as a whole, as far as no MX has to be asked for it."""

import re
from collections.abc import Iterator, Mapping, Sequence

from policyd.policy.shaping import SHAPING
from policyd.store.checks import Told
from policyd.store.rows import Json, Record
from policyd.transfer.packaged_shaping import PROVIDERS, is_packaged_rule

Rows = Mapping[str, Sequence[Record]]

_PAIRS = (
    ("smtp_auth_plain_username", "smtp_auth_plain_password"),
    ("tls_certificate", "tls_private_key"),
)
_NEEDS_TLS = ("enable_dane", "enable_mta_sts")
_LIMIT = re.compile(r"(?:local:)?([0-9_,]+)")


def check_shaping(rows: Rows) -> dict[str, list[Told]]:
    """What each check of shaping finds, by its name."""
    return {
        "provider_that_matches_nothing": list(_without_match(rows)),
        "rule_of_kumomtas_own": list(_repeated(rows)),
        "rate_of_kumomtas_own_provider": list(_rates(rows)),
        "limits_that_contradict": list(_contradicting(rows)),
        "shaping_domain_that_is_no_domain": list(_names(rows)),
    }


def _without_match(rows: Rows) -> Iterator[Told]:
    matched = {row["provider"] for row in rows["shaping_provider_match"]}
    for row in rows["shaping_provider"]:
        # Of a provider that its own file has, KumoMTA adds these matches to its own.
        own = row["name"] in PROVIDERS and not row["replace_base"]
        if row["name"] not in matched and not own:
            yield _told(f"provider '{row['name']}' has no match")


def _repeated(rows: Rows) -> Iterator[Told]:
    for kind in ("provider", "domain"):
        replacing = {
            row["name" if kind == "provider" else "domain"]
            for row in rows[f"shaping_{kind}"]
            if row["replace_base"]
        }
        for row in rows[f"shaping_{kind}_automation"]:
            rule = {
                name: value
                for name, value in row.items()
                if name not in (kind, "position", "tag") and value is not None
            }
            if row[kind] not in replacing and is_packaged_rule(kind, str(row[kind]), rule):
                yield _told(f"{kind} '{row[kind]}', rule {row['position']}: KumoMTA's own file has it, too")


def _rates(rows: Rows) -> Iterator[Told]:
    for row in rows["shaping_provider"]:
        if row["name"] in PROVIDERS and row["provider_max_message_rate"] is not None:
            yield _told(
                f"provider '{row['name']}' has provider_max_message_rate {row['provider_max_message_rate']}"
            )


def _contradicting(rows: Rows) -> Iterator[Told]:
    for what, options in _sections(rows):
        for one, other in _PAIRS:
            if (one in options) != (other in options):
                there, gone = (one, other) if one in options else (other, one)
                yield _told(f"{what}: {there} is set without {gone}")
        if options.get("enable_tls") == "Disabled":
            needing = [name for name in _NEEDS_TLS if options.get(name) is True]
            if needing:
                yield _told(f"{what}: enable_tls is Disabled, and {' and '.join(needing)} true")
            elif "smtp_auth_plain_username" in options and not options.get(
                "allow_smtp_auth_plain_without_tls"
            ):
                yield _told(f"{what}: enable_tls is Disabled, and logging in without TLS is not allowed")
    for row in rows["shaping_provider"]:
        all_of_it, each = (
            _number(row["provider_connection_limit"]),
            _number(_table(row["options"]).get("connection_limit")),
        )
        if all_of_it is not None and each is not None and each > all_of_it:
            yield _told(
                f"provider '{row['name']}': connection_limit {each} to one domain is more than"
                f" provider_connection_limit {all_of_it} to all of them"
            )


def _sections(rows: Rows) -> Iterator[tuple[str, Mapping[str, Json]]]:
    for kind, name in (("provider", "name"), ("domain", "domain")):
        whole = {row[name]: _table(row["options"]) for row in rows[f"shaping_{kind}"]}
        for owner, options in whole.items():
            yield f"{kind} '{owner}'", options
        for row in rows[f"shaping_{kind}_source"]:
            own = _table(row["options"])
            if own:
                yield f"{kind} '{row[kind]}', source '{row['source']}'", {**whole[row[kind]], **own}


def _names(rows: Rows) -> Iterator[Told]:
    names = {str(row["domain"]): row for row in rows["shaping_domain"]}
    for name, row in names.items():
        if name.endswith("."):
            twin = names.get(name.removesuffix("."))
            if twin is None or twin["mx_rollup"] is not False:
                yield _told(f"domain '{name}' has no twin '{name.removesuffix('.')}' with mx_rollup = false")
        elif (
            "." not in name
            and not name.startswith("[")
            and name != "default"
            and row["mx_rollup"] is not False
        ):
            yield _told(f"domain '{name}' has one label")


def _told(says: str) -> Told:
    return Told(tag=SHAPING, says=says)


def _number(limit: Json) -> int | None:
    match limit:
        case bool():
            return None
        case int():
            return limit
        case {"limit": int(number)}:
            return number
        case str() if found := _LIMIT.fullmatch(limit):
            return int(re.sub("[_,]", "", found[1]))
        case _:
            return None


def _table(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
