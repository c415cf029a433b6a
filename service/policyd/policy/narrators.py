"""What an explanation tells step by step, for each kind that has more to tell than where its fields come from."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from policyd.policy.asking import Resolution, Shown, Step
from policyd.policy.dkim import DKIM, DKIM_KEY
from policyd.policy.dkim_narrating import narrate_key, narrate_plan
from policyd.policy.egress import EGRESS_POOL, EGRESS_SOURCE
from policyd.policy.egress_narrating import narrate_egress
from policyd.policy.listener_domain import LISTENER_DOMAIN
from policyd.policy.login_narrating import LOGIN, narrate_login
from policyd.policy.lookup import Kind, Lookup
from policyd.policy.mail_narrating import narrate_listener_domain, narrate_queue, narrate_tenant
from policyd.policy.queue import QUEUE
from policyd.policy.shaping_path import SHAPING_PATH, narrate_path
from policyd.policy.tenant import TENANT

Narrator: TypeAlias = Callable[[Lookup, float, Shown, Resolution], Iterable[Step]]

NARRATORS: Final[Mapping[str, Narrator]] = {
    LISTENER_DOMAIN.name: narrate_listener_domain,
    EGRESS_SOURCE.name: narrate_egress,
    EGRESS_POOL.name: narrate_egress,
    TENANT.name: narrate_tenant,
    QUEUE.name: narrate_queue,
    DKIM.name: narrate_plan,
    DKIM_KEY.name: narrate_key,
    SHAPING_PATH.name: narrate_path,
    LOGIN.name: narrate_login,
}

EXPLAINED_ONLY: Final[tuple[Kind, ...]] = (SHAPING_PATH, LOGIN)
"""Kinds that can be explained and not looked up: what nodes ask is a file, or has a password in it."""
