# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh as the inventory describes it: who is in it, and with which settings."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import SHARED_KEYS
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory import sites
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import (
    Cluster,
    Member,
    clusters_of,
    discarding,
    validate,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.setting_values import setting_problems, unsupported
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import Reader, mesh_wide, unreadable

CONTROL_NODE = "localhost"
"""The host that bears what is planned and concluded, in the plays of our playbooks."""


@dataclass(frozen=True)
class MeshRead:
    """What was read.

    :param members: of the mesh, sorted by name. :param leaving: those that are being removed.
    :param settings: host to its settings, of both. :param mesh: what is one value for all.
    :param discarding: the names of the members whose sets are to be destroyed at once.
    """

    members: tuple[Member, ...]
    leaving: tuple[Member, ...]
    settings: Mapping[str, Mapping[str, Any]]
    mesh: Mapping[str, Any]
    clusters: tuple[Cluster, ...]
    discarding: tuple[str, ...]


def read_mesh(reader: Reader, group: str, hosts: Sequence[str], others: Sequence[str] = ()) -> MeshRead:
    """Read and validate all settings of all members.

    :param hosts: those of the group. :param others: hosts of this run outside the group, which may be removed.
    :raises EsyncError: everything that is wrong, at once.
    """
    salt = secrets.token_bytes(16)
    members: list[Member] = []
    settings: dict[str, dict[str, Any]] = {}
    discards: dict[str, Any] = {}
    errors = reader.nearly(hosts)
    for host in hosts:
        errors += reader.passphrases(host)
        try:
            settings[host] = reader.settings(host)
            errors += setting_problems(host, settings[host])
            members.append(_member(host, settings[host], reader, salt))
            errors += unsupported(host, settings[host], members[-1].sites)
            discards[host] = settings[host].get("esync_discard_existing", False)
        except EsyncError as error:
            errors.append(error)
    removed = sorted({name for own in settings.values() for name in own.get("esync_remove") or ()})
    leaving = [one for one in members if one.name in removed]
    members = sorted((one for one in members if one.name not in removed), key=lambda one: one.name)
    validate(members, group, [one.name for one in leaving], errors)
    for host in others if removed else ():
        # The control node is in the runs of our playbooks, and has none of the settings.
        if host == CONTROL_NODE and host not in removed:
            continue
        settings[host] = reader.settings(host)
        one = _member(host, settings[host], reader, salt)
        if one.name in removed:
            leaving.append(one)
    return MeshRead(
        tuple(members),
        tuple(leaving),
        settings,
        mesh_wide({host: own for host, own in settings.items() if host in hosts}),
        tuple(clusters_of(members)),
        tuple(discarding(members, discards, group)),
    )


def _member(host: str, settings: Mapping[str, Any], reader: Reader, salt: bytes) -> Member:
    model = str(settings["esync_trust_model"])
    address = reader.value(host, "ansible_host", host)
    how = str(reader.value(host, "ansible_connection", "ssh"))
    reached = [how] + [
        str(reader.value(host, f"ansible_{name}", "")) for name in ("port", "ssh_common_args", "ssh_extra_args")
    ]
    return Member(
        host=host,
        name=str(settings["esync_server_name"]),
        address=str(settings["esync_address"]),
        port=settings["esync_port"],
        default_address=reader.variables(host)["esync_address"] == reader.defaults["esync_address"],
        directory=str(settings["esync_directory"]),
        web_roots=tuple(settings["esync_web_roots"]),
        sites=sites.read(host, settings["esync_endpoint_sites"], settings["esync_port"]),
        requested=sites.requested(settings["esync_site"]),
        services=sites.read_services(host, settings["esync_services"]),
        endpoint=str(settings["esync_endpoint"]),
        machine=how if how in ("local", "ansible.builtin.local") else " ".join([str(address), *reached]),
        trust_model=model,
        formats=tuple(settings["esync_formats"]),
        passphrase=_passphrase(host, reader, salt) if model == SHARED_KEYS else "",
        cluster=_cluster(host, settings["esync_cluster"], settings["esync_port"]),
    )


def _passphrase(host: str, reader: Reader, salt: bytes) -> str:
    """A digest of the passphrase that compares it within this run and is of no use afterwards; empty without one."""
    value = reader.value(host, "esync_pfx_passphrase", "")
    return hashlib.sha256(salt + str(value).encode("utf-8")).hexdigest() if value else ""


def _cluster(host: str, said: Mapping[str, Any], port: int) -> Cluster | None:
    """The cluster that a host says it belongs to.

    :param port: of the host, and of the balancer unless it has another.
    """
    given = {key: value for key, value in said.items() if value is not None}
    if not given:
        return None
    if not {"name", "address"} <= set(given):
        raise unreadable(host, "esync_cluster", "it must have a name and an address, and may have a port")
    return Cluster(str(given["name"]), str(given["address"]), int(given.get("port", port)))


def member_facts(member: Member) -> dict[str, Any]:
    """A member as the mesh_members module returns it."""
    chosen, cluster = member.chosen, member.cluster
    return {
        "host": member.host,
        "name": member.name,
        "address": member.address,
        "directory": member.directory,
        # Of a server with sites nothing listens on esync_port, unless that is the port of one of them.
        "port": chosen[0].port if chosen else member.port,
        "sites": [site.facts() for site in member.places],
        "cluster": cluster and {"name": cluster.name, "address": cluster.address, "port": cluster.port},
    }


def cluster_facts(clusters: Sequence[Cluster]) -> list[dict[str, Any]]:
    """Clusters as the mesh_members module returns them."""
    return [asdict(cluster) for cluster in clusters]
