"""PostgreSQL, and where private keys live."""

from drawing import Page, Panel, Query, Row
from pages.queries import HERE, per_second, quantile

BACKENDS = Page(
    uid="policyd-backends",
    title="policyd / Backends",
    purpose="PostgreSQL, and where private keys live: whether they answer, how fast, and until when they will let us in.",
    labels=[("backend", "policyd_backend_up")],
    rows=[
        Row(
            title="Reached",
            panels=[
                Panel(
                    title="Backends that answer",
                    reading="1 while the last question was answered.",
                    queries=[
                        Query(
                            expr='policyd_backend_up{job=~"$job", instance=~"$instance", backend=~"$backend"}',
                            legend="{{backend}} of {{instance}}",
                        )
                    ],
                    most=1,
                ),
                Panel(
                    title="Vault: until the token ends",
                    reading="Renewed at two thirds of its life: a saw that never reaches the floor.",
                    queries=[
                        Query(
                            expr=f"policyd_vault_token_expiry_timestamp_seconds{HERE} - time()",
                            legend="{{instance}}",
                        )
                    ],
                    unit="s",
                    bad=300,
                    is_bad_below=True,
                ),
            ],
        ),
        Row(
            title="Troubles",
            panels=[
                Panel(
                    title="Troubles by what was the matter",
                    reading="Times that a backend did not give what was needed.",
                    queries=[
                        Query(
                            expr=per_second("policyd_backend_troubles_total", "backend, trouble"),
                            legend="{{backend}}: {{trouble}}",
                        )
                    ],
                    unit="ops",
                    kind="stacked",
                    width=24,
                )
            ],
        ),
        Row(
            title="Questions",
            panels=[
                Panel(
                    title="Questions per second",
                    reading="By what was asked. One statement answers many lookups.",
                    queries=[
                        Query(
                            expr=per_second(
                                "policyd_backend_request_duration_seconds_count", "backend, operation"
                            ),
                            legend="{{backend}} {{operation}}",
                        )
                    ],
                    unit="reqps",
                    kind="stacked",
                ),
                Panel(
                    title="Duration, 99 of 100 questions",
                    reading="What a miss waits for.",
                    queries=[
                        Query(
                            expr=quantile(
                                0.99, "policyd_backend_request_duration_seconds", "backend, operation"
                            ),
                            legend="{{backend}} {{operation}}",
                        )
                    ],
                    unit="s",
                    bad=0.25,
                ),
            ],
        ),
    ],
)
