"""What each kumod has applied."""

from drawing import Page, Panel, Query, Row

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
    ],
)
