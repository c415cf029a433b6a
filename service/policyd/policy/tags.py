"""Tags: the names of documents, present or absent, `kind/part/…`."""


def tag(kind: str, *parts: str) -> str:
    """The name of one document; inside a part `%` is written `%25` and `/` is `%2F`."""
    name = "/".join((kind, *parts))
    if "%" not in name and name.count("/") == len(parts):
        return name
    return "/".join((kind, *(part.replace("%", "%25").replace("/", "%2F") for part in parts)))


def kind_of(tag: str) -> str:
    """The kind that a tag belongs to: `egress_pool` of `egress_pool/*/bulk`."""
    return tag.partition("/")[0]


def parts_of(tag: str) -> tuple[str, ...]:
    """The unescaped parts after the kind: `("*", "bulk")` of `egress_pool/*/bulk`."""
    return tuple(part.replace("%2F", "/").replace("%25", "%") for part in tag.split("/")[1:])
