"""What `policyd validate` looks for, from the checks themselves."""

import re
from importlib.resources import files

from generating.markdown import code, made, table

from policyd.operate.policy_checks import CHECKS, KUMOD

_OTHERS = {
    "reference_to_nothing": "Rows whose foreign key leads nowhere: credentials and webhooks of tenants that are not there, and the like.",
    "refused_options": "Rows that the catalogue of options refuses today.",
    "options_that_nodes_do_not_know": "Options that are newer than the KumoMTA of a live node.",
    "provider_that_matches_nothing": "Providers of shaping without a match, unless KumoMTA's own file has one.",
    "rule_of_kumomtas_own": "Rules of shaping that KumoMTA's own file has, too.",
    "rate_of_kumomtas_own_provider": "provider_max_message_rate of a provider that KumoMTA's own file has.",
    "limits_that_contradict": "Shaping that says a thing and its opposite, or half of a pair.",
    "shaping_domain_that_is_no_domain": "Sections of shaping with one label, or with a dot at the end and without a twin.",
    "refused_by_kumod": "With --kumod: documents that this kumod's constructors refuse, or that it dies of.",
}


def checks_page() -> str:
    """Every check with what it finds, how bad that is, what it means and what to do."""
    asked = files("policyd.store").joinpath("checks.sql").read_text()
    finds = dict(re.findall(r"^-- (\w+) --\n-- (.+)$", asked, re.MULTILINE))
    finds |= _OTHERS
    rows = [
        (code(check.name), check.severity, finds[check.name], f"{check.means}.", f"{check.next_step}.")
        for check in (*CHECKS, KUMOD)
    ]
    return made(
        "Checks of `policyd validate`",
        "How bad a finding is where it depends: mail without a pool is a warning where `on_missing` is `stock`; a pool without a"
        " source is a note where nobody names it; a signature that ends within two weeks is a note.",
        table(["check", "severity", "finds", "means", "next"], rows),
    )
