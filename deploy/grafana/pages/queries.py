"""PromQL that many panels have in common; every query keeps to the jobs and instances that were chosen."""

HERE = '{job=~"$job", instance=~"$instance"}'
KIND = '{job=~"$job", instance=~"$instance", kind=~"$kind"}'
RATE = "[$__rate_interval]"


def per_second(metric: str, by: str, where: str = HERE) -> str:
    return f"sum by ({by}) (rate({metric}{where}{RATE}))"


def share(metric: str, outcomes: str, where: str) -> str:
    """Part of the counts of *metric* that have one of *outcomes*."""
    chosen = where.replace("}", f', outcome=~"{outcomes}"}}')
    return f"sum(rate({metric}{chosen}{RATE})) / (sum(rate({metric}{where}{RATE})) > 0)"


def quantile(part: float, metric: str, by: str, where: str = HERE) -> str:
    return f"histogram_quantile({part}, sum by (le, {by}) (rate({metric}_bucket{where}{RATE})))"
