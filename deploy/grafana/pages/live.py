"""Whether what was committed is what is answered."""

from drawing import Page, Panel, Query, Row
from pages.queries import HERE, RATE

LIVE = Page(
    uid="policyd-live",
    title="policyd / Live",
    purpose="Whether a committed row is what every replica and every node answers with.",
    labels=[],
    rows=[
        Row(
            title="Replicas",
            panels=[
                Panel(
                    title="Revision",
                    reading="The last one that each replica knows. One line, or somebody is behind.",
                    queries=[Query(expr=f"policyd_revision{HERE}", legend="{{instance}}")],
                    least=None,
                ),
                Panel(
                    title="Current",
                    reading="1 while the change log was read within feed.lease. At 0, answers are marked as stale.",
                    queries=[Query(expr=f"policyd_current{HERE}", legend="{{instance}}")],
                    most=1,
                ),
                Panel(
                    title="From commit to known",
                    reading="By the clocks of PostgreSQL and of the replica, for the newest revision. A few milliseconds, where the clocks agree.",
                    queries=[Query(expr=f"policyd_change_lag_seconds{HERE}", legend="{{instance}}")],
                    unit="s",
                    least=None,
                    bad=5,
                ),
                Panel(
                    title="Revisions",
                    reading="Transactions that changed policy, per second.",
                    queries=[Query(expr=f"max(rate(policyd_changes_total{HERE}{RATE}))", legend="revisions")],
                    unit="ops",
                ),
                Panel(
                    title="Other histories",
                    reading="Times that the database turned out to be another one: restored, or failed over with a loss.",
                    queries=[
                        Query(expr=f"increase(policyd_history_resets_total{HERE}[1h])", legend="{{instance}}")
                    ],
                    bad=0.5,
                ),
                Panel(
                    title="Nodes behind",
                    reading="Seconds for which the log has held what a node has not applied: the ten worst.",
                    queries=[
                        Query(
                            expr='topk(10, min by (node) (policyd_node_lag_seconds{job=~"$job"}))',
                            legend="{{node}}",
                        )
                    ],
                    unit="s",
                    bad=60,
                ),
                Panel(
                    title="Rows of the log that were pruned",
                    reading="What is older than history.keep goes, a little at a time. None where that is not set.",
                    queries=[
                        Query(
                            expr=f"increase(policyd_history_pruned_rows_total{HERE}[1h])",
                            legend="{{instance}}",
                        )
                    ],
                ),
            ],
        ),
    ],
)
