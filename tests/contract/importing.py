"""The files of a policy as `policyd import` reads them."""

from policyd.transfer.files import HelperKind, read_helper_file
from policyd.transfer.reading import Transfer, transfer
from tests.contract.reference.files import Fields, Policy
from tests.contract.toml_writer import to_toml


def read(policy: Policy) -> Transfer:
    """What the files come to, each kind in the order in which KumoMTA loads them."""
    kinds: dict[HelperKind, list[Fields]] = {
        "listener_domains": policy["listener_domains"],
        "sources": policy["sources"],
        "queues": policy["queues"],
        "dkim": policy["dkim"],
    }
    return transfer(
        [
            read_helper_file(f"{kind}{number}.toml", to_toml(file), kind)
            for kind, each in kinds.items()
            for number, file in enumerate(each)
        ]
    )
