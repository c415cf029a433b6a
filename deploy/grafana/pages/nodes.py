"""What each kumod has applied."""

from drawing import Page, Panel, Query, Row
from pages.queries import HERE, RATE


def _answers(outcome: str) -> str:
    """Every replica knows every node, so the greatest is the node's own."""
    where = f'{{job=~"$job", node=~"$node", outcome="{outcome}"}}'
    return f"max by (node) (rate(policyd_node_answers_total{where}{RATE}))"


NODES = Page(
    uid="policyd-nodes",
    title="policyd / Nodes",
    purpose="Every kumod with the Lua client: what it has applied, and how its own lookups went.",
    labels=[("node", "policyd_node_applied_revision")],
    rows=[
        Row(
            title="Applied",
            panels=[
                Panel(
                    title="Revision applied",
                    reading="As each node reported it. All lines should be one.",
                    queries=[
                        Query(
                            expr='max by (node) (policyd_node_applied_revision{job=~"$job", node=~"$node"})',
                            legend="{{node}}",
                        )
                    ],
                    least=None,
                ),
                Panel(
                    title="Lag",
                    reading="How long the log has held what a node has not applied.",
                    queries=[
                        Query(
                            expr='min by (node) (policyd_node_lag_seconds{job=~"$job", node=~"$node"})',
                            legend="{{node}}",
                        )
                    ],
                    unit="s",
                    bad=60,
                ),
            ],
        ),
        Row(
            title="What nodes say of themselves",
            panels=[
                Panel(
                    title="Unknown",
                    reading="Answers that a node could not give: mail that was held, or put off with 4xx. It should be 0.",
                    queries=[Query(expr=_answers("unknown"), legend="{{node}}")],
                    unit="ops",
                    bad=0.0001,
                ),
                Panel(
                    title="Stale",
                    reading="Answers that a node gave although nobody could say whether they still hold.",
                    queries=[Query(expr=_answers("stale"), legend="{{node}}")],
                    unit="ops",
                ),
                Panel(
                    title="Refused",
                    reading="Answers that a node's kumod would not take. policyd nodes says why.",
                    queries=[Query(expr=_answers("refused"), legend="{{node}}")],
                    unit="ops",
                    bad=0.0001,
                ),
                Panel(
                    title="Fetched and from the store",
                    reading="Lookups that went to a replica, and that the node's own store answered. What memory answers is not counted.",
                    queries=[
                        Query(expr=_answers("fetched"), legend="{{node}} fetched"),
                        Query(expr=_answers("stored"), legend="{{node}} stored"),
                    ],
                    unit="ops",
                ),
                Panel(
                    title="Seen",
                    reading="Seconds since each node reported. It does twice a minute.",
                    queries=[
                        Query(
                            expr='time() - max by (node) (policyd_node_last_seen_timestamp_seconds{job=~"$job", node=~"$node"})',
                            legend="{{node}}",
                        )
                    ],
                    unit="s",
                    bad=300,
                ),
                Panel(
                    title="Drills",
                    reading="Outages that somebody practises: how many, and the requests that they make fail.",
                    queries=[
                        Query(expr=f"max(policyd_drills{HERE})", legend="drills"),
                        Query(
                            expr=f"sum(rate(policyd_drilled_requests_total{HERE}{RATE}))",
                            legend="requests a second",
                        ),
                    ],
                ),
            ],
        ),
    ],
)
