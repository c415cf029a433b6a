"""Why somebody may log in, or may not: without a password, and without its hash."""

from collections.abc import Iterator

from policyd.policy.asking import Field, Json, Layer, Resolution, Resolver, Shown, Step, ask, overlay
from policyd.policy.credential import credential_in, document_of, peer_address
from policyd.policy.lookup import Kind, Lookup, Parameter, row_name
from policyd.policy.narrating import at, listed
from policyd.policy.tags import tag


def resolve(lookup: Lookup, now: float) -> Resolver:
    """The credential without its hash, and the tenant that it sends for."""
    del now
    document = document_of(lookup.key)
    seen = yield ask(document)
    row = seen[document]
    if row is None:
        return Resolution(layers=())
    yield ask(tag("tenant", row["tenant"]))
    fields: dict[Field, Json] = {(name,): value for name, value in row.items() if name != "password_hash"}
    return Resolution(layers=(Layer(document, fields),))


def narrate_login(lookup: Lookup, now: float, shown: Shown, resolution: Resolution) -> Iterator[Step]:
    """Each condition in turn, and what the tenant says of who may send as it."""
    document = document_of(lookup.key)
    row = overlay(resolution.layers)
    if not row:
        yield Step(
            f"there is no credential {lookup.key}; names are compared letter by letter",
            document,
            counts=False,
        )
        return
    credential = credential_in(row)
    yield Step(
        "it is enabled" if credential.enabled else "it is disabled", document, counts=credential.enabled
    )
    if credential.expires_at is not None:
        open_ = now < credential.expires_at
        yield Step(
            f"it {'ends' if open_ else 'ended'} at {at(credential.expires_at)}", document, counts=open_
        )
    if credential.networks is not None:
        names = listed([str(network) for network in credential.networks])
        peer = lookup.parameters.get("peer")
        if peer is None:
            yield Step(f"it is good from {names} alone: say where from, peer=ADDRESS", document)
        else:
            inside = credential.admits(peer_address(peer))
            yield Step(f"{peer} is {'' if inside else 'not '}in {names}", document, counts=inside)
    users = (shown.get(tag("tenant", credential.tenant)) or {}).get("require_authz")
    sends = users is None or lookup.key in users
    says = "anybody may send" if users is None else f"{'it is' if sends else 'it is not'} in require_authz"
    yield Step(
        f"it sends for tenant {credential.tenant} alone: {says}",
        tag("tenant", credential.tenant),
        counts=sends,
    )
    yield Step("whether the password is right, and whether there were too many wrong ones, is not asked here")


LOGIN = Kind(
    name="smtp_credential",
    segment="smtp-auth",
    summary="Whether a credential may log in",
    key=row_name("the username"),
    parameters=(Parameter(name="peer", meaning="where from", normalise=lambda asked: asked or None),),
    resolve=resolve,
)
