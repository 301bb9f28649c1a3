"""The description in force on a master, and what it says to the parts of that master."""

from ipaddress import ip_address

from beonss.core.accounts.lookup import Rules
from beonss.core.names.description import Settings
from beonss.core.names.naming import Address, MasterSpec, Naming
from beonss.core.passwords.policy import Policy
from beonss.daemon.passwords.standards import PasswordSettings
from beonss.daemon.replication.description import Described
from beonss.wire.feed import DescriptionContent


class InForce:
    """The one description that everything on a master goes by.

    Args:
        name: of this master.
        described: what it starts with.

    Attributes:
        text: the document.
        naming: the same, compiled and proven.
        spec: what it says of this master; None if it does not name it.
    """

    def __init__(self, name: str, described: Described) -> None:
        self.name = name
        self.take(described)

    def take(self, described: Described) -> None:
        """Go by another one from now on."""
        self.text, self.naming = described.published.text, described.naming
        self.spec = self.spec_in(described.naming)

    def spec_in(self, naming: Naming) -> MasterSpec | None:
        """Return what a description says of this master."""
        return next((spec for spec in naming.masters if spec.name == self.name), None)

    @property
    def settings(self) -> Settings:
        """Its settings."""
        return self.naming.settings

    def content(self, cluster: str) -> DescriptionContent:
        """Return it as nodes get it; ``cluster`` is the cluster's id."""
        return DescriptionContent(cluster, self.naming.version, self.naming.digest, self.text)

    def admits_node(self, source: str) -> bool:
        """Say whether a node may connect from an address."""
        try:
            address = ip_address(source.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or any(address in network for network in self.settings.node_networks)

    def node_name(self, source: str) -> str:
        """Return the name of the node that has an address; the address where none has."""
        try:
            named = self.naming.find_address(ip_address(source.partition("%")[0]))
        except ValueError:
            named = None
        return source if named is None else named.name

    def rules(self) -> Rules:
        """Return which accounts are served."""
        return Rules(self.settings.uid_floor, self.settings.gid_floor, shadow=True)

    def password_settings(self, boot_patience: float) -> PasswordSettings:
        """Return what holds for passwords.

        Args:
            boot_patience: seconds that a login or change waits for the boot reconciliation.
        """
        settings = self.settings
        return PasswordSettings(
            uid_floor=settings.uid_floor,
            scheme=settings.hash_scheme,
            cost=settings.hash_cost,
            policy=Policy(minimum_length=settings.min_password_length),
            boot_patience=boot_patience,
        )


def address_of(spec: MasterSpec | None) -> Address | None:
    """Return the first address of a master, where the description has one."""
    return spec.addresses[0] if spec is not None and spec.addresses else None
