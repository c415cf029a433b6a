"""Every kind of lookup that there is: the one list that routes, metrics and documentation are made from."""

from policyd.policy.dkim import DKIM
from policyd.policy.egress import EGRESS_POOL, EGRESS_SOURCE
from policyd.policy.listener_domain import LISTENER_DOMAIN
from policyd.policy.lookup import Kind
from policyd.policy.queue import QUEUE, QUEUE_SETTINGS
from policyd.policy.shaping import SHAPING_JSON, SHAPING_TOML
from policyd.policy.tenant import TENANT
from policyd.policy.webhook import WEBHOOKS

KINDS: tuple[Kind, ...] = (
    LISTENER_DOMAIN,
    EGRESS_SOURCE,
    EGRESS_POOL,
    TENANT,
    QUEUE_SETTINGS,
    QUEUE,
    DKIM,
    SHAPING_JSON,
    SHAPING_TOML,
    WEBHOOKS,
)

DOCUMENT_KINDS = (
    "listener_domain",
    "egress_source",
    "egress_pool",
    "tenant",
    "queue_settings",
    "queue",
    "dkim_settings",
    "dkim_domain",
    "dkim_signature",
    "shaping",
    "webhook",
)
"""Kinds of documents that a node may list by name; tokens and credentials are nobody's to list."""
