"""Every check of `policyd validate`: how bad it is, what it means, and what to do. The questions are in store/checks.sql."""

from dataclasses import dataclass
from typing import Final

from policyd.operate.finding import Severity


@dataclass(frozen=True, slots=True)
class Check:
    """*severity* is how bad it is where a finding does not say otherwise."""

    name: str
    severity: Severity
    means: str
    next_step: str


KUMOD: Final = Check(
    "refused_by_kumod",
    "error",
    "kumod's own constructor refuses this: a node treats it as unknown, and its mail waits",
    "correct the row; if this kumod is an old one, leave the option out until all are new",
)

CHECKS: Final = (
    Check(
        "reference_to_nothing",
        "error",
        "a restore or a repair with triggers off left a row without what it needs",
        "insert what it names, or delete it; then policy.invalidate, because nobody was told",
    ),
    Check(
        "refused_options",
        "error",
        "KumoMTA would refuse this, and so would a change of this row today",
        "correct the row; policy.option lists what is allowed",
    ),
    Check(
        "options_that_nodes_do_not_know",
        "error",
        "a kumod that is older refuses the whole object: its mail waits there",
        "upgrade these nodes, or leave the option out until then",
    ),
    Check(
        "mail_without_a_pool",
        "error",
        "nothing says which address this mail may leave from; queue_settings.on_missing decides what becomes of it",
        "name an egress_pool for the default queue, the tenant or the domain; 'unspecified' says the host's own address aloud",
    ),
    Check(
        "pool_without_a_source",
        "warning",
        "its mail waits: that stops a pool on purpose, or by accident",
        "give it a source with a weight, or name another pool",
    ),
    Check("unused_pool", "note", "nothing is sent from it", "name it, or delete it"),
    Check("unused_source", "note", "nothing is sent from it", "put it into a pool, or delete it"),
    Check(
        "source_without_an_address",
        "warning",
        "mail leaves from whatever address the host takes, which may be another one tomorrow",
        "set source_address, or use the source 'unspecified' if that is meant",
    ),
    Check(
        "shared_address",
        "warning",
        "to a receiver they are one sender: limits to one do not hold for the other, and it may see two names",
        "keep one of them, or give each an address of its own",
    ),
    Check(
        "group_without_an_address",
        "warning",
        "these nodes may not have that address, and then cannot send with it",
        "add the source to egress_source_group for this group, or take it out of the group's pool",
    ),
    Check(
        "group_without_nodes",
        "warning",
        "a misspelt group changes nothing, and nobody says so",
        "compare with node_group in the setup of the nodes (policyd nodes)",
    ),
    Check(
        "tenants_that_nothing_names",
        "warning",
        "what is said of these tenants never applies, unless a policy of your own sets meta 'tenant'",
        "set queue_settings.tenant_header, or default_tenant",
    ),
    Check(
        "campaigns_that_nothing_names",
        "warning",
        "what is said of them never applies, unless a policy of your own sets meta 'campaign'",
        "set queue_settings.campaign_header",
    ),
    Check(
        "queue_of_a_stranger",
        "warning",
        "messages of a tenant without a row are refused before any queue is asked",
        "insert the tenant, or delete this row",
    ),
    Check(
        "tenant_inside_the_default",
        "warning",
        "tenants are looked for only inside the domain that was found",
        "say it of the tenant, or inside of queue '*'",
    ),
    Check(
        "queue_that_only_hides",
        "note",
        "the nearest name wins whole: what the wildcard says does not apply",
        "delete it, unless that is meant",
    ),
    Check(
        "retries_that_contradict",
        "warning",
        "laid over each other, the levels leave fewer retries than somebody meant",
        "compare with policyd explain, and correct one of them",
    ),
    Check(
        "rate_that_is_never_reached",
        "note",
        "the smaller one holds, and this one changes nothing",
        "lower it, or raise the other",
    ),
    Check(
        "tenant_that_nobody_may_send_as",
        "warning",
        "an empty list is nobody; null is anybody",
        "name the users, or set require_authz to null",
    ),
    Check(
        "authz_without_a_credential",
        "note",
        "nobody can log in as that user here",
        "policyd credential add, or take the name out; names are compared letter by letter",
    ),
    Check(
        "credential_that_cannot_send",
        "warning",
        "it may log in, and then all of its mail is refused",
        "add it to the tenant's require_authz, or set that to null",
    ),
    Check("ended", "note", "nobody can use it any more", "remove it, or give it another end"),
    Check(
        "token_for_nobody",
        "note",
        "it may read private keys of these domains alone, and they have none",
        "compare the names with policy.dkim_domain",
    ),
    Check(
        "open_relay",
        "error",
        "the world can send through these nodes, and will",
        "name the domains and networks that are meant",
    ),
    Check(
        "listener_that_is_never_met",
        "warning",
        "kumod compares with the address that the peer connected to",
        "name that address, or give the listener a name in its meta (policyd_listener)",
    ),
    Check(
        "key_of_another_algorithm",
        "error",
        "such a signature is not made: the mail waits",
        "correct algorithm, or put the right key there",
    ),
    Check(
        "signature_out_of_time",
        "warning",
        "outside of its time nothing is signed, and no wildcard above it signs instead",
        "correct not_before and not_after, or add the signer that follows",
    ),
    Check(
        "signature_that_is_not_added",
        "note",
        "no message gets it",
        "insert it into policy.dkim_additional_signature, or delete it",
    ),
    Check(
        "sender_that_is_not_signed",
        "note",
        "this mail goes out unsigned",
        "insert it into policy.dkim_domain, or add a signature for all (policyd explain /dkim/DOMAIN)",
    ),
    Check(
        "over_sign_that_cannot_be_undone",
        "note",
        "KumoMTA and policyd take false for nothing said",
        "set it to false in dkim_settings, and to true where it is wanted",
    ),
    Check(
        "provider_that_matches_nothing",
        "warning",
        "nothing that it says ever applies",
        "insert into policy.shaping_provider_match whose mail it is for",
    ),
    Check(
        "shaping_of_an_unknown_source",
        "warning",
        "no mail leaves from a source of this name",
        "correct the name, or delete the row",
    ),
    Check(
        "rule_of_kumomtas_own",
        "warning",
        "nodes load KumoMTA's own shaping file too, and rules add up: each response counts twice",
        "delete the rule, unless nodes do not load that file",
    ),
    Check(
        "rate_of_kumomtas_own_provider",
        "warning",
        "KumoMTA takes it from the first file that has the provider, which is its own: this one has no effect",
        "set max_message_rate, or give the provider another name",
    ),
    Check(
        "limits_that_contradict",
        "warning",
        "one of them can have no effect, or not the one that was meant",
        "correct one of them",
    ),
    Check(
        "shaping_domain_that_is_no_domain",
        "warning",
        "a name of one label is usually a section without its quotes; and one with a dot at the end needs its twin",
        "correct the name",
    ),
    Check(
        "webhook_in_the_clear",
        "warning",
        "records name senders and recipients, and anybody on the way can read them",
        "use https",
    ),
    Check("webhook_that_is_off", "note", "it misses what happens meanwhile", "enable it, or delete it"),
)
