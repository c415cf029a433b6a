"""Private keys, and customers who log in."""

from drawing import Page, Panel, Query, Row
from pages.queries import HERE, per_second, share

KEYS_AND_LOGINS = Page(
    uid="policyd-keys-and-logins",
    title="policyd / DKIM and AUTH",
    purpose="Private keys that are handed out, replaced or missing; customers who log in, and who guesses.",
    labels=[],
    rows=[
        Row(
            title="DKIM",
            panels=[
                Panel(
                    title="Private keys handed out",
                    reading="By what the token is good for. Nodes keep keys: this is rare once they run.",
                    queries=[
                        Query(
                            expr=per_second("policyd_private_keys_sent_total", "token, found"),
                            legend="{{token}}, {{found}}",
                        )
                    ],
                    unit="reqps",
                ),
                Panel(
                    title="Private keys replaced",
                    reading="Seen to be another one than before. Each should be a rotation that somebody meant.",
                    queries=[
                        Query(
                            expr=f"increase(policyd_private_keys_changed_total{HERE}[1h])",
                            legend="{{instance}}",
                        )
                    ],
                    bad=0.5,
                ),
                Panel(
                    title="Private keys that could not be used",
                    reading="Missing, damaged, or not what their row says. Mail that needs one waits.",
                    queries=[
                        Query(
                            expr=per_second("policyd_private_keys_unusable_total", "instance"),
                            legend="{{instance}}",
                        )
                    ],
                    unit="ops",
                    bad=0.0001,
                ),
                Panel(
                    title="Lookups of signing plans",
                    reading="By outcome.",
                    queries=[
                        Query(
                            expr=per_second(
                                "policyd_lookups_total",
                                "outcome",
                                '{job=~"$job", instance=~"$instance", kind=~"dkim.*"}',
                            ),
                            legend="{{outcome}}",
                        )
                    ],
                    unit="reqps",
                    kind="stacked",
                ),
            ],
        ),
        Row(
            title="AUTH",
            panels=[
                Panel(
                    title="Logins by outcome",
                    reading="verified, remembered, stale: let in. limited, overloaded, unavailable: told to come later. The others: refused.",
                    queries=[
                        Query(expr=per_second("policyd_auth_attempts_total", "outcome"), legend="{{outcome}}")
                    ],
                    unit="reqps",
                    kind="stacked",
                ),
                Panel(
                    title="Refused",
                    reading="Part of the logins that were wrong. A jump is somebody who guesses, or a customer with an old password.",
                    queries=[
                        Query(
                            expr=share("policyd_auth_attempts_total", "wrong|unknown", HERE),
                            legend="refused",
                        )
                    ],
                    unit="percentunit",
                    most=1,
                ),
                Panel(
                    title="Not looked at",
                    reading="limited: too many failed before. overloaded: more at once than can be checked. unavailable: an outage.",
                    queries=[
                        Query(
                            expr=per_second(
                                "policyd_auth_attempts_total",
                                "outcome",
                                '{job=~"$job", instance=~"$instance", outcome=~"limited|overloaded|unavailable"}',
                            ),
                            legend="{{outcome}}",
                        )
                    ],
                    unit="reqps",
                    bad=0.1,
                ),
            ],
        ),
    ],
)
