"""Why a domain is signed as it is, or not at all: step by step, as the signing plan is made."""

from collections.abc import Iterator, Mapping

from policyd.policy.asking import Json, Resolution, Shown, Step, overlay
from policyd.policy.dkim import MISSING, NOT_SEEN, SETTINGS, UNUSABLE, WRONG_ALGORITHM, Place, is_open
from policyd.policy.lookup import Lookup
from policyd.policy.narrating import at, nearest, present, spoken
from policyd.policy.tags import kind_of, tag

_WHY_NOT = {
    NOT_SEEN: "it was not read yet",
    MISSING: "there is none",
    UNUSABLE: "what is there cannot be used, the service's log says why",
    WRONG_ALGORITHM: "it is for another algorithm than the row says",
}


def narrate_plan(lookup: Lookup, now: float, shown: Shown, resolution: Resolution) -> Iterator[Step]:
    """The domain's own row, the additional signatures, and whether each key is there."""
    yield from nearest(lookup.key, [each for each in shown if kind_of(each) == "dkim_domain"], shown)
    own = next((each for each in shown if kind_of(each) == "dkim_domain" and shown[each] is not None), None)
    if own is not None:
        row = present(shown, own)
        if is_open(row, now):
            yield Step(f"it signs with d={lookup.key}{_until(row)}", own, counts=True)
        else:
            yield Step(
                f"{_closed(row, now)}; meanwhile no wildcard above it signs instead", own, counts=False
            )
    yield from _additional(now, shown, signs_itself=own is not None and is_open(present(shown, own), now))
    plan = overlay(resolution.layers).get("signatures", [])
    for signature in plan:
        yield _key(signature)
    waiting = [each for each in plan if "key_problem" in each]
    if not plan:
        yield Step(f"so nothing signs for {spoken(lookup.key)}: its mail goes out unsigned", counts=False)
    elif waiting:
        yield Step(
            f"so mail waits for {_keys(len(waiting))} (451), and is looked at again every ten seconds",
            counts=False,
        )
    else:
        yield Step(f"so each message gets {len(plan)} signature{'s' if len(plan) > 1 else ''}", counts=True)


def narrate_key(lookup: Lookup, now: float, shown: Shown, resolution: Resolution) -> Iterator[Step]:
    """Where the key of a signature is looked for."""
    del now, shown
    selector = lookup.parameters["selector"]
    places = [Place(root=root, name=name) for root, name in overlay(resolution.layers).get("places", [])]
    for place in places[:-1]:
        yield Step(
            f"a row signs for {lookup.key} with selector {selector}: {_spoken(place)}", place.tag, counts=True
        )
    yield Step(
        f"where the key of {lookup.key} and {selector} is without a row saying so: {_spoken(places[-1])}",
        places[-1].tag,
        counts=True,
    )
    yield Step(f"/dkim/{lookup.key} says which key is there; the key itself is told to nobody here")


def _additional(now: float, shown: Shown, *, signs_itself: bool) -> Iterator[Step]:
    names = present(shown, SETTINGS).get("additional_signatures", [])
    if not names:
        yield Step("dkim_settings adds no signature to everybody's mail", SETTINGS, counts=False)
    for name in names:
        document = tag("dkim_signature", name)
        row = shown.get(document)
        if row is None:
            yield Step(f"signature {name} is to be added, and is not there", document, counts=False)
        elif not is_open(row, now):
            yield Step(f"signature {name}: {_closed(row, now)}", document, counts=False)
        elif signs_itself and row.get("policy") == "OnlyIfMissingDomainBlock":
            yield Step(
                f"signature {name} is only for domains that do not sign themselves", document, counts=False
            )
        else:
            yield Step(
                f"signature {name} is added, with d={row['domain']}{_until(row)}", document, counts=True
            )


def _key(signature: Mapping[str, Json]) -> Step:
    place = Place(root=signature["key"]["root"], name=signature["key"]["name"])
    who = f"d={signature['domain']} s={signature['selector']}"
    problem = signature.get("key_problem")
    if problem is None:
        says = f"{who}: {_spoken(place)} is {signature['key_id'][:16]}…, for {signature['algorithm']}"
        return Step(says, place.tag, counts=True)
    return Step(
        f"{who}: {_spoken(place)} cannot be used: {_WHY_NOT.get(problem, problem)}", place.tag, counts=False
    )


def _spoken(place: Place) -> str:
    return f"key {place.name} in root {place.root}"


def _closed(row: Mapping[str, Json], now: float) -> str:
    begins = row.get("not_before", now)
    return f"it signs from {at(begins)} on" if begins > now else f"it signed until {at(row['not_after'])}"


def _until(row: Mapping[str, Json]) -> str:
    return f", until {at(row['not_after'])}" if "not_after" in row else ""


def _keys(number: int) -> str:
    return "its key" if number == 1 else f"{number} keys"
