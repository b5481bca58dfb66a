# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is in the mesh: validated completely before any host is touched."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._core.names import MODELS, PINNED, SHARED_KEYS, problems
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory import sites as websites
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.setting_values import (
    address_problem,
    comparable,
    directory_problem,
    is_loopback,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import nearest, words_of
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.sites import Site
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import abbreviated

_TRUTH = {
    **dict.fromkeys(("true", "yes", "on", "y", "t", "1"), True),
    **dict.fromkeys(("false", "no", "off", "n", "f", "0", ""), False),
}


@dataclass(frozen=True)
class Cluster:
    """Servers that can be reached through one address, that of a load balancer.

    :param name: a name by the rules of server names. :param address: the balancer's. :param port: where it listens.
    :param members: the names of its servers; empty where a member says to which one it belongs.
    """

    name: str
    address: str
    port: int
    members: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Name, address and port for messages."""
        return f"{self.name} ({self.address} port {self.port})"


@dataclass(frozen=True)
class Member:
    """One server of the mesh, as the inventory describes it.

    :param host: its name in the inventory.
    :param name: its server name.
    :param address: where the others connect to.
    :param port: 1 to 65535.
    :param directory: the folder of ours on it.
    :param web_roots: folders that may not hold ours.
    :param machine: where Ansible finds it; two members of one machine need folders of their own. It is not the address,
        because many machines can be behind one address.
    :param default_address: whether the address is only where Ansible finds it, because nobody set another.
    :param sites: its web sites; none: it has one endpoint, on its port.
    :param requested: the names of those that certificates apply to; None for all.
    :param services: what its user runs besides, or in the place of its endpoint.
    :param endpoint: what listens there, as esync_endpoint says.
    :param trust_model: ``pinned`` or ``shared_keys``. :param formats: of its sets' files.
    :param passphrase: a digest of its passphrase for ``.pfx`` files that only serves to compare it with the others';
        empty if it has none.
    :param cluster: the cluster that it belongs to, if any.
    """

    host: str
    name: str
    address: str
    port: int
    directory: str
    web_roots: tuple[str, ...] = ()
    machine: str = ""
    default_address: bool = False
    sites: tuple[Site, ...] = ()
    requested: tuple[str, ...] | None = None
    services: tuple[Site, ...] = ()
    endpoint: str = "temporary"
    trust_model: str = PINNED
    formats: tuple[str, ...] = ("pfx",)
    passphrase: str = field(default="", repr=False)
    cluster: Cluster | None = None

    @property
    def chosen(self) -> tuple[Site, ...]:
        """The sites that certificates apply to."""
        return websites.chosen(self.sites, self.requested)

    @property
    def places(self) -> tuple[Site, ...]:
        """Where it is called; empty: on its port only."""
        return websites.places(self.chosen, self.services, self.port)


def clusters_of(members: Iterable[Member]) -> list[Cluster]:
    """The clusters of a mesh, sorted by name, with their members in the order of the mesh."""
    found: dict[str, Cluster] = {}
    for member in members:
        if member.cluster:
            before = found.get(member.cluster.name, member.cluster)
            found[before.name] = replace(before, members=(*before.members, member.name))
    return [found[name] for name in sorted(found)]


def validate(
    members: Sequence[Member], group: str, leaving: Sequence[str] = (), unreadable: Sequence[EsyncError] = ()
) -> None:
    """Refuse a mesh that cannot work.

    :param leaving: names of the group's servers that are being removed; then one server may be left alone.
    :param unreadable: what was wrong with hosts of the group that could not even be made into members.
    :raises EsyncError: all offenders at once.
    """
    if not members and not unreadable:
        why = "is to lose all of its servers" if leaving else "is empty or does not exist"
        raise EsyncError(
            f"the inventory group {group} {why}, so there is no mesh",
            "List its servers in the inventory, or name another group in esync_group",
            kind="empty_group",
        )
    errors: list[EsyncError] = list(unreadable)
    if len(members) == 1 and not leaving and not unreadable:
        errors.append(
            EsyncError(
                f"it is alone in the inventory group {group}, and a mesh needs two servers",
                "Add the other servers to the group",
                kind="mesh_of_one",
                server=members[0].name,
            )
        )
    for member in members:
        errors += _alone(member)
    errors += _together(members)
    errors += _loops(members)
    if not leaving:
        # Whoever leaves may be the only one that knows a site.
        errors += websites.unknown_to_all({member.host: (member.sites, member.requested) for member in members})
    errors += _by_model(members)
    errors += _clustered(members)
    raise_all(errors)


def discarding(members: Sequence[Member], wanted: Mapping[str, Any], group: str) -> tuple[str, ...]:
    """The names of the servers whose sets are to be destroyed and created again.

    :param wanted: each host's ``esync_discard_existing``: true, false, or server names, as a list or as text
        with commas.
    :raises EsyncError: names that are no server's, and words that can be meant either way, all at once.
    """
    known = sorted(member.name for member in members)
    chosen: list[str] = []
    errors: dict[str, EsyncError] = {}
    for member in members:
        value = wanted.get(member.host, False)
        word = str(value).strip().lower()
        if not isinstance(value, (list, tuple)) and word in _TRUTH:
            if isinstance(value, str) and value.strip() in known:
                errors[word] = _discard_refused(value.strip(), "can be meant as a yes or no, or as this server", known)
            elif _TRUTH[word]:
                chosen.append(member.name)
            continue
        names = value if isinstance(value, (list, tuple)) else words_of(str(value))
        for name in (str(one).strip() for one in names):
            if name not in known:
                errors[name] = _discard_refused(name, f"names it, but it is not in the inventory group {group}", known)
            elif name == member.name and name not in chosen:
                chosen.append(name)
    raise_all(list(errors.values()))
    return tuple(sorted(chosen))


def _discard_refused(name: str, why: str, known: Sequence[str]) -> EsyncError:
    meant = nearest(name, known) if name not in known else ""
    return EsyncError(
        f"esync_discard_existing {why}{meant}; the servers are {', '.join(known)}",
        "Nothing was destroyed. Name servers of this mesh: -e esync_discard_existing=NAME,NAME, "
        "or as a list where a name is also a yes or no",
        kind="unknown_server",
        server=name,
    )


def _alone(member: Member) -> Iterable[EsyncError]:
    for problem in problems(member.name):
        yield EsyncError(
            f"{member.name!r} is no server name: {problem}",
            "Give this host another esync_server_name",
            kind="bad_name",
            server=member.host,
        )
    if not 1 <= member.port <= 65535:
        yield EsyncError(
            f"{member.port} is no port", "Set esync_port to 1 to 65535", kind="bad_port", server=member.host
        )
    address = address_problem(member.address)
    if address:
        yield EsyncError(address, "Set esync_address to a name or an address", kind="bad_address", server=member.host)
    directory = directory_problem(member.directory, member.endpoint)
    if not member.directory.startswith("/") or not posixpath.normpath(member.directory).strip("/"):
        directory = f"the folder must be an absolute path of its own, not {member.directory!r}"
    if directory:
        yield EsyncError(
            directory, "Set esync_directory", kind="bad_directory", server=member.host, path=member.directory
        )
    for root in member.web_roots:
        if _lies_under(member.directory, root):
            yield EsyncError(
                f"the folder lies under the web root {root}, where the web server could serve private keys",
                "Set esync_directory to another place",
                kind="under_web_root",
                server=member.host,
                path=member.directory,
            )
    yield from websites.validate(member.host, member.sites, member.requested, member.directory, member.endpoint)
    yield from websites.validate_services(member.host, member.sites, member.services)


def _together(members: Sequence[Member]) -> Iterable[EsyncError]:
    names: dict[str, list[Member]] = defaultdict(list)
    endpoints: dict[tuple[str, int], list[Member]] = defaultdict(list)
    folders: dict[tuple[str, str], list[Member]] = defaultdict(list)
    for member in members:
        names[member.name.lower()].append(member)
        for port in _ports(member):
            endpoints[comparable(member.address), port].append(member)
        folders[member.machine or member.host, posixpath.normpath(member.directory)].append(member)
    for same in names.values():
        if len(same) > 1:
            yield EsyncError(
                f"the hosts {_hosts(same)} have the same server name (upper and lower case count as the same)",
                "Give each another esync_server_name",
                kind="duplicate_name",
                server=same[0].name,
            )
    for (address, port), same in endpoints.items():
        if len(same) > 1:
            yield EsyncError(
                f"the hosts {_hosts(same)} have the same address and port, {address} port {port}",
                _BEHIND_ONE_ADDRESS if _is_shared(same) else "Give each another esync_address or esync_port",
                kind="duplicate_address",
                server=same[0].name,
            )
    for (_machine, directory), same in folders.items():
        if len(same) > 1:
            yield EsyncError(
                f"the hosts {_hosts(same)} are one machine, and have the same folder there",
                "Give each another esync_directory",
                kind="duplicate_directory",
                server=same[0].name,
                path=directory,
            )


_BEHIND_ONE_ADDRESS = (
    "That is where Ansible connects to, which is the default of esync_address. Where a jump host or forwarded ports "
    "lead on from there to several hosts, set esync_address of each to the address by which the other servers reach it"
)


def _is_shared(members: Sequence[Member]) -> bool:
    """Whether several machines are behind what is taken for the address of each of them."""
    return all(member.default_address for member in members) and len({member.machine for member in members}) > 1


def _loops(members: Sequence[Member]) -> Iterable[EsyncError]:
    """Whom Ansible reaches through this machine, which says nothing of how the others reach it."""
    found = [member for member in members if member.default_address and is_loopback(member.address)]
    if found and len({member.machine for member in members}) > 1:
        yield EsyncError(
            f"esync_address of the hosts {_hosts(found)} is {found[0].address}, which leads every server to itself",
            _BEHIND_ONE_ADDRESS,
            kind="bad_address",
            server=found[0].name,
        )


def _by_model(members: Sequence[Member]) -> Iterable[EsyncError]:
    """What is wrong with the trust model, or with what it needs."""
    unknown = [member for member in members if member.trust_model not in MODELS]
    for member in unknown:
        yield EsyncError(
            f"{member.trust_model!r} is no trust model",
            f"Set esync_trust_model to {' or '.join(MODELS)}, the same for the whole mesh",
            kind="bad_trust_model",
            server=member.name,
        )
    over = [member for member in members if member.trust_model == SHARED_KEYS]
    if unknown or not over:
        return
    if len(over) < len(members):
        pinned = [member for member in members if member not in over]
        yield EsyncError(
            f"esync_trust_model is {SHARED_KEYS} for {_names(over)}, and {PINNED} for {_names(pinned)}",
            "Set it to the same for the whole mesh",
            kind="mixed_trust_models",
        )
        return
    needs = f"with esync_trust_model: {SHARED_KEYS} the client sets are sent as .pfx files under the mesh's passphrase"
    without = [member for member in over if not member.passphrase]
    if without:
        yield EsyncError(
            f"{needs}, and esync_pfx_passphrase is not set for {_names(without)}",
            "Set esync_pfx_passphrase for the whole mesh, from a vault",
            kind="no_pfx_passphrase",
        )
    elif len({member.passphrase for member in over}) > 1:
        yield EsyncError(
            f"{needs}, and esync_pfx_passphrase is not the same for {_names(over)}",
            "Set one esync_pfx_passphrase for the whole mesh, from a vault",
            kind="mixed_pfx_passphrases",
        )
    bare = [member for member in over if "pfx" not in member.formats]
    if bare:
        yield EsyncError(
            f"{needs}, and esync_formats does not name pfx for {_names(bare)}",
            "Add pfx to esync_formats",
            kind="no_pfx",
        )


def _names(members: Sequence[Member]) -> str:
    return abbreviated([member.name for member in members])


def _ports(member: Member) -> list[int]:
    """Where it listens."""
    return sorted({*({site.port for site in member.sites} or {member.port}), *(one.port for one in member.services)})


def _clustered(members: Sequence[Member]) -> Iterable[EsyncError]:
    names: dict[str, list[Member]] = defaultdict(list)
    places: dict[tuple[str, int], list[Member]] = defaultdict(list)
    over = [member for member in members if member.cluster and member.trust_model == SHARED_KEYS]
    if over:
        yield EsyncError(
            f"{_names(over)} {'is' if len(over) == 1 else 'are'} in a cluster, and esync_trust_model is {SHARED_KEYS}: "
            "nobody can know which member's client set to present before a member has answered",
            f"Remove esync_cluster, or set esync_trust_model to {PINNED} for the whole mesh",
            kind="cluster_needs_pins",
        )
    for member in members:
        if member.cluster:
            yield from _cluster_alone(member, member.cluster)
            names[member.cluster.name.lower()].append(member)
            places[comparable(member.cluster.address), member.cluster.port].append(member)
    for same in names.values():
        said = {member.cluster.place: None for member in same if member.cluster}
        if len(said) > 1:
            yield EsyncError(
                f"the hosts {_hosts(same)} are in the same cluster, but differ in what they say of it: "
                f"{', '.join(said)}",
                "Give all of them the same name, address and port in esync_cluster",
                kind="cluster_differs",
                server=same[0].host,
            )
    for same in places.values():
        different = {member.cluster.name.lower(): member.cluster.name for member in same if member.cluster}
        if len(different) > 1 and same[0].cluster:
            yield EsyncError(
                f"the clusters {' and '.join(different.values())} have the same address and port, "
                f"{same[0].cluster.address} port {same[0].cluster.port}",
                "Give each another address or port in esync_cluster",
                kind="duplicate_cluster_address",
                server=same[0].host,
            )
    for member in members:
        if member.name.lower() in names:
            yield EsyncError(
                f"the cluster of {_hosts(names[member.name.lower()])} has the name of this server "
                "(upper and lower case count as the same)",
                "Give the cluster another name in esync_cluster",
                kind="cluster_named_as_server",
                server=member.name,
            )
        for port in _ports(member):
            place = (comparable(member.address), port)
            if place in places:
                yield EsyncError(
                    f"the cluster of {_hosts(places[place])} has the address and port of this "
                    f"server, {member.address} port {port}, and every server must be reachable by itself",
                    "Give the balancer an address or a port of its own in esync_cluster",
                    kind="cluster_at_server",
                    server=member.name,
                )


def _cluster_alone(member: Member, cluster: Cluster) -> Iterable[EsyncError]:
    found = [f"{cluster.name!r} is no name of a cluster: {problem}" for problem in problems(cluster.name)]
    if not 1 <= cluster.port <= 65535:
        found.append(f"{cluster.port} is no port")
    address = address_problem(cluster.address)
    found += [address] if address else []
    for problem in found:
        yield EsyncError(problem, "Correct esync_cluster of this host", kind="bad_cluster", server=member.host)


def _hosts(members: Iterable[Member]) -> str:
    return " and ".join(member.host for member in members)


def _lies_under(path: str, root: str) -> bool:
    path, root = posixpath.normpath(path), posixpath.normpath(root)
    return path == root or path.startswith(root.rstrip("/") + "/")
