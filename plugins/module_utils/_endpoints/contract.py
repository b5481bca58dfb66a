# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The contract of an endpoint: what every product that can listen on the eSync port has to be able to do.

A driver implements it for one product, and holds only what is particular to that product. The order of the methods, the
proof and the undoing are the same for all of them: see procedure.py. A new driver is one file here, and one line in
registry.py.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar, FrozenSet, Iterable, NamedTuple, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import HTTP
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.places import Place

Caller = Tuple[int, str, int]
"""One connection: the port that was called, and the address and port of the caller (connections.plain)."""


class Presented(NamedTuple):
    """A client certificate that was presented.

    :param certificate: its fingerprint, SHA-1, as products note it. :param caller: through which connection.
    :param at: when its first request began, by the clock of this host; 0: that was not noted.
    """

    certificate: str
    caller: Caller
    at: float


class Noted(NamedTuple):
    """Which client certificates were presented, as a product has noted it.

    :param since: from when on it has, by the clock of this host.
    :param presented: the later ones come last; a connection may be there twice. They may be read as they are looked at,
        and only once, because there may be very many.
    """

    since: float
    presented: Iterable[Presented]


@dataclass(frozen=True)
class Site:
    """One web site of a server.

    :param name: by the rules of server names.
    :param port: 1 to 65535.
    :param server_name: the DNS name by which the site is requested; None: it has the port for itself.
    :param root: the folder whose files are served; None: none is.
    :param upstream: the URL that requests are passed to; None: that of the endpoint.
    :param reload: the command that makes a service of the user's own, which serves the site, read its files again.
    :param protocol: what is spoken there, a key of PROTOCOLS.
    :param owner: the user that gets files of its own to read, if the service is an attached one; None: it needs none.
    """

    name: str
    port: int
    server_name: Optional[str]
    root: Optional[str]
    upstream: Optional[str]
    reload: Tuple[str, ...]
    protocol: str
    owner: Optional[str]


@dataclass(frozen=True)
class EndpointSettings:
    """What an endpoint is to do. A driver reads those that mean something to its product.

    :param name: the name of this server.
    :param directory: the directory of the mesh.
    :param port: the eSync port; it counts if there are no sites.
    :param address: where peers connect to; looked at if nothing listens on the loopback addresses.
    :param sites: what is served in the place of the port. :param services: what the user runs besides.
    :param configuration: the file that the configuration goes into.
    :param service: the name of the product's unit, where systemd runs.
    :param upstream: the URL that requests are passed to; empty: they are not.
    :param access_log: the file for the access log; ``off`` for none.
    :param product_version: what the health answer says of the product; None: nothing.
    :param reload_command: what makes the user's service read its files again.
    :param stop_command: what stops it.
    :param start_command: what starts it.
    :param restart: whether to stop and start the service, whatever it does now.
    :param jitter: seconds to wait at random before a reload, at the most.
    :param timeout: seconds for each command, and for each proof.
    :param spare: whether connections go on that were opened with a certificate that is not trusted any more.
    :param withdrawn: address and eSync port of the servers that nobody trusts any more.
    :param drain: how many seconds after the last reload connections may go on that such a certificate opened.
    """

    name: str
    directory: str
    port: int
    address: Optional[str]
    sites: Tuple[Site, ...]
    services: Tuple[Site, ...]
    configuration: str
    service: str
    upstream: str
    access_log: str
    product_version: Optional[str]
    reload_command: Tuple[str, ...]
    stop_command: Tuple[str, ...]
    start_command: Tuple[str, ...]
    restart: bool
    jitter: float
    timeout: float
    spare: bool
    withdrawn: Tuple[Tuple[str, int], ...]
    drain: float

    @property
    def places(self) -> Tuple[Place, ...]:
        """Everything that is served."""
        sites = tuple(Place(site.port, site.name, site.server_name, site.protocol) for site in self.sites)
        return sites or (Place(self.port),)

    @property
    def all_sites(self) -> Tuple[Site, ...]:
        """Its sites; without any, one without a name that has the eSync port for itself."""
        return self.sites or (Site("", self.port, None, None, None, (), HTTP, None),)

    def upstream_of(self, site: Site) -> str:
        """The URL that the requests of a site are passed to; empty: they are not."""
        return site.upstream or ("" if site.root else self.upstream)


@dataclass(frozen=True)
class Product:
    """What a product can do, and where its things lie as long as the settings do not say otherwise.

    :param packages: what is installed if it is missing.
    :param configuration: the file of ours; empty: there is none.
    :param service: its unit, where systemd runs.
    :param access_log: where it notes who called.
    :param schemes: how the URL of an upstream may begin.
    :param plain_upstream: whether that URL is a host and a port only.
    :param needs_upstream: whether it answers nothing without one.
    :param serves_files: whether a site can have a root.
    :param shares_ports: whether a site can have a server_name, so that several can share a port.
    """

    packages: Tuple[str, ...]
    configuration: str
    service: str
    access_log: str
    schemes: Tuple[str, ...]
    plain_upstream: bool
    needs_upstream: bool
    serves_files: bool
    shares_ports: bool


NO_PRODUCT = Product((), "", "", "off", ("http", "https", "tcp", "proxy"), False, False, False, True)
"""Where there is nothing of ours to configure."""


@dataclass(frozen=True)
class Observed:
    """What an endpoint found of its product.

    :param missing: the error if the product is not installed.
    :param configuration: what the file of ours holds, with the unit of ours if there is one; None: there is none.
    :param processes: those of the product; empty: it does not run; None: the driver cannot know.
    """

    missing: Optional[EsyncError]
    configuration: Optional[str]
    processes: Optional[FrozenSet[int]]

    @property
    def is_running(self) -> bool:
        """Whether the product runs; what cannot be known is taken to run."""
        return self.processes is None or bool(self.processes)


class Endpoint(abc.ABC):
    """One product as the endpoint of this server. It remembers nothing between two calls.

    :cvar name: the key in ENDPOINTS, and the value of the setting esync_endpoint.
    :cvar is_resident: whether it serves between runs, so that it has to load what changed.
    :cvar remedy: what the user can do if it does not serve what it should.
    :cvar product: what its product can do.
    """

    name: ClassVar[str]
    is_resident: ClassVar[bool]
    remedy: ClassVar[str]
    product: ClassVar[Product]

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings

    @abc.abstractmethod
    def observe(self) -> Observed:
        """Read what there is. It changes nothing."""

    @abc.abstractmethod
    def render(self, in_force: InForce) -> str:
        """The configuration that the product should have.

        :param in_force: what lies on the disk to be served.
        :returns: the text of the file of ours, with that of the unit if there is one; empty if the product has none.
        :raises EsyncError: kind ``bad_setting``, naming the setting.
        """

    @abc.abstractmethod
    def configure(self, text: str) -> None:
        """Write the configuration, if it differs. Nothing takes it up yet."""

    @abc.abstractmethod
    def validate(self) -> None:
        """Let the product test its configuration, all of it.

        :raises EsyncError: kind ``configuration_refused``, with the words of the product.
        """

    @abc.abstractmethod
    def reload(self) -> None:
        """Let the product read its configuration, certificates and trust again; start it if it does not run.

        :raises EsyncError: kinds ``reload_refused``, ``start_failed``, ``reload_command_failed``.
        """

    @abc.abstractmethod
    def restart(self) -> None:
        """Stop the product, then start it.

        :raises EsyncError: kinds ``stop_failed``, ``start_failed``, ``reload_command_failed``.
        """

    @abc.abstractmethod
    def served(self, place: Place) -> Optional[str]:
        """Read back what is served.

        :returns: the fingerprint of the certificate; None if none is served there.
        """

    def noted(self) -> Optional[Noted]:
        """Which client certificate opened which connection, of closed connections too.

        :returns: None: the product does not note it. Of a caller that is withdrawn only the address is known then, and
            a certificate that is not used any more cannot be told from one that is.
        """
        return None

    def leaving(self) -> FrozenSet[int]:
        """The processes of the product that only finish what they have begun, with the trust of before a reload."""
        return frozenset()

    @abc.abstractmethod
    def undo(self, before: Observed, loaded: bool) -> None:
        """Put back what :meth:`configure` or :meth:`remove` changed.

        :param before: what was there.
        :param loaded: whether the product has taken up what is put back now, so that it has to read it again.
        """

    @abc.abstractmethod
    def remove(self) -> None:
        """Take away what :meth:`configure` wrote. Nothing takes that up yet."""


def not_installed(product: str, server: str) -> EsyncError:
    """The error of a product that is not there. :param product: as it and its package are called."""
    return EsyncError(
        f"{product} is not installed",
        f"Install the host's own package {product}, or set esync_install_dependencies to true",
        kind="missing_dependency",
        server=server,
    )


def configuration_refused(product: str, words: str, settings: EndpointSettings, remedy: str = "") -> EsyncError:
    """The error of a configuration that a product does not take.

    :param words: those of the product. :param remedy: if it is another than to correct what they name.
    """
    return EsyncError(
        f"{product} refuses its configuration: {words}",
        remedy or "Correct what it names; until then it goes on with what it had, and our file is left as it was",
        kind="configuration_refused",
        server=settings.name,
        path=settings.configuration,
    )
