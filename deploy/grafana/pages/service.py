"""Rate, errors and duration of lookups, and what the cache does for them."""

from drawing import Page, Panel, Query, Row
from pages.queries import HERE, KIND, RATE, per_second, quantile, share

SERVICE = Page(
    uid="policyd-service",
    title="policyd / Service",
    purpose="How many lookups, how many of them go wrong, how long they take, and what the cache does for it.",
    labels=[("kind", "policyd_lookups_total")],
    rows=[
        Row(
            title="At a glance",
            panels=[
                Panel(
                    title="Replicas that answer",
                    reading="Processes that Prometheus reaches. Nodes need one.",
                    queries=[Query(expr=f"count(policyd_build_info{HERE})")],
                    kind="number",
                    width=4,
                    bad=1,
                    is_bad_below=True,
                ),
                Panel(
                    title="Replicas that are current",
                    reading="Those that vouch for what they answer. The others mark their answers as stale.",
                    queries=[Query(expr=f"sum(policyd_current{HERE})")],
                    kind="number",
                    width=4,
                    bad=1,
                    is_bad_below=True,
                ),
                Panel(
                    title="Lookups",
                    reading="Per second, of all replicas.",
                    queries=[Query(expr=f"sum(rate(policyd_lookups_total{KIND}{RATE}))")],
                    unit="reqps",
                    kind="number",
                    width=4,
                ),
                Panel(
                    title="Answered from the cache",
                    reading="Without a question to PostgreSQL. Low after a start, and high from then on.",
                    queries=[Query(expr=share("policyd_lookups_total", "hit|none|stale", KIND))],
                    unit="percentunit",
                    kind="number",
                    width=4,
                ),
                Panel(
                    title="Stale",
                    reading="Part of the answers that nobody vouches for at the moment.",
                    queries=[Query(expr=share("policyd_lookups_total", "stale", KIND))],
                    unit="percentunit",
                    kind="number",
                    width=4,
                    bad=0.001,
                ),
                Panel(
                    title="Errors",
                    reading="Part of the lookups that got no answer. Nodes use what they know instead.",
                    queries=[Query(expr=share("policyd_lookups_total", "error", KIND))],
                    unit="percentunit",
                    kind="number",
                    width=4,
                    bad=0.01,
                ),
            ],
        ),
        Row(
            title="Rate, errors, duration",
            panels=[
                Panel(
                    title="Lookups by outcome",
                    reading="hit: from the cache. miss: PostgreSQL was asked. none: there is nothing. stale: not vouched for. error: no answer.",
                    queries=[
                        Query(expr=per_second("policyd_lookups_total", "outcome", KIND), legend="{{outcome}}")
                    ],
                    unit="reqps",
                    kind="stacked",
                ),
                Panel(
                    title="Lookups by kind",
                    reading="What nodes ask for.",
                    queries=[
                        Query(expr=per_second("policyd_lookups_total", "kind", KIND), legend="{{kind}}")
                    ],
                    unit="reqps",
                    kind="stacked",
                ),
                Panel(
                    title="Duration, 99 of 100 lookups",
                    reading="By kind. A miss costs one statement, which many lookups share.",
                    queries=[
                        Query(
                            expr=quantile(0.99, "policyd_lookup_duration_seconds", "kind", KIND),
                            legend="{{kind}}",
                        )
                    ],
                    unit="s",
                    bad=0.05,
                ),
                Panel(
                    title="Duration, half of the lookups",
                    reading="What most of them take.",
                    queries=[
                        Query(
                            expr=quantile(0.5, "policyd_lookup_duration_seconds", "kind", KIND),
                            legend="{{kind}}",
                        )
                    ],
                    unit="s",
                ),
                Panel(
                    title="Requests refused for their token",
                    reading="Wrong, expired, from a network that it is not good for, or without the scope.",
                    queries=[
                        Query(
                            expr=per_second("policyd_tokens_refused_total", "instance"),
                            legend="{{instance}}",
                        )
                    ],
                    unit="reqps",
                ),
                Panel(
                    title="Requests told to come again",
                    reading="By what there was no more room in. After a restart there may be some; else it is overload.",
                    queries=[
                        Query(
                            expr=per_second("policyd_requests_shed_total", "bottleneck"),
                            legend="{{bottleneck}}",
                        )
                    ],
                    unit="reqps",
                    kind="stacked",
                ),
                Panel(
                    title="Connections",
                    reading="Those of nodes; at the limit, more are told to come again.",
                    queries=[
                        Query(expr=f"policyd_connections{HERE}", legend="{{instance}}"),
                        Query(expr=f"policyd_connections_limit{HERE}", legend="limit of {{instance}}"),
                    ],
                ),
                Panel(
                    title="Requests that failed by a mistake of policyd's",
                    reading="Each has a line in the log with its request id. There should be none.",
                    queries=[
                        Query(
                            expr=per_second("policyd_requests_failed_total", "instance"),
                            legend="{{instance}}",
                        )
                    ],
                    unit="reqps",
                    bad=0.0001,
                ),
            ],
        ),
        Row(
            title="Cache and process",
            panels=[
                Panel(
                    title="Cached answers",
                    reading="They leave when cache.bytes is used up, the least used first.",
                    queries=[Query(expr=f"policyd_cache_entries{HERE}", legend="{{instance}}")],
                ),
                Panel(
                    title="Bytes of cached answers",
                    reading="cache.bytes is the limit.",
                    queries=[Query(expr=f"policyd_cache_bytes{HERE}", legend="{{instance}}")],
                    unit="bytes",
                ),
                Panel(
                    title="Lookups under way",
                    reading="Those that wait for a backend. At lookup.max_pending, more are told to come again.",
                    queries=[Query(expr=f"policyd_lookups_pending{HERE}", legend="{{instance}}")],
                ),
                Panel(
                    title="Cores",
                    reading="One process uses one core; near 1, another process is needed (policyd@.service).",
                    queries=[
                        Query(expr=f"rate(process_cpu_seconds_total{HERE}{RATE})", legend="{{instance}}")
                    ],
                    bad=0.8,
                ),
                Panel(
                    title="Memory",
                    reading="Of each process: what the cache holds, and about as much again.",
                    queries=[Query(expr=f"process_resident_memory_bytes{HERE}", legend="{{instance}}")],
                    unit="bytes",
                ),
                Panel(
                    title="Open files",
                    reading="Each node holds one or two connections. At the limit, new ones are refused.",
                    queries=[
                        Query(expr=f"process_open_fds{HERE} / process_max_fds{HERE}", legend="{{instance}}")
                    ],
                    unit="percentunit",
                    bad=0.8,
                ),
            ],
        ),
    ],
)
