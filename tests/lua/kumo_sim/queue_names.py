"""Names of scheduled queues: campaign:tenant@domain!routing_domain."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueName:
    """The parts of a name, as kumod parses it: the first @, then the first :, and ! in what follows."""

    domain: str
    tenant: str | None = None
    campaign: str | None = None
    routing_domain: str | None = None

    @classmethod
    def parse(cls, name: str) -> "QueueName":
        who, at, rest = name.partition("@")
        if not at:
            who, rest = "", name
        domain, bang, routing = rest.partition("!")
        campaign, colon, tenant = who.partition(":")
        if not colon:
            campaign, tenant = "", who
        return cls(
            domain=domain,
            tenant=tenant if at else None,
            campaign=campaign if colon else None,
            routing_domain=routing if bang else None,
        )

    @property
    def destination(self) -> str:
        return self.routing_domain or self.domain
