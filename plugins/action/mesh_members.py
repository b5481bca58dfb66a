# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judge on the control node who is in the mesh."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible import constants as C

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import SHARED_KEYS
from ansible_collections.esync.mesh.plugins.plugin_utils._action import ControlAction, plain
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory import sites
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import (
    Cluster,
    Member,
    clusters_of,
    discarding,
    judge,
)

OPTIONS: dict[str, Any] = {
    "group": {"type": "str", "default": "esync"},
    "port": {"type": "int", "default": 8732},
    "directory": {"type": "str", "default": "/etc/esync"},
    "name": {"type": "str"},
    "web_roots": {"type": "list", "elements": "str", "default": ["/var/www", "/srv/www"]},
    "endpoint": {"type": "str", "default": "temporary"},
    "sites": {"type": "list", "elements": "dict", "default": []},
    "site": {"type": "raw", "default": sites.ALL},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "trust_model": {"type": "str", "choices": ["pinned", "shared_keys"], "default": "pinned"},
    "formats": {"type": "list", "elements": "str", "default": ["cer", "pfx", "pvk"]},
}


_INTERNAL = ("web_roots", "machine", "sites", "asked", "endpoint", "trust_model", "formats", "passphrase")


class ActionModule(ControlAction):
    """Runs wholly on the control node; see the module's documentation."""

    SPEC = OPTIONS

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        defaults = {**_defaults(variables, options), "salt": secrets.token_bytes(16)}
        members: list[Member] = []
        wanted: dict[str, Any] = {}
        _refuse_debugging(options["group"], variables)
        unreadable: list[EsyncError] = []
        for host in variables["groups"].get(options["group"], []):
            try:
                members.append(_member(str(host), variables["hostvars"][host], defaults))
                wanted[str(host)] = _read(str(host), variables["hostvars"][host], "esync_discard_existing", False)
            except EsyncError as error:
                unreadable.append(error)
        leaving = [one.name for one in members if one.name in options["exclude"]]
        members = sorted((one for one in members if one.name not in leaving), key=lambda one: one.name)
        judge(members, options["group"], leaving, unreadable)
        discarded = discarding(members, wanted, options["group"])
        result.update(
            changed=False,
            members=plain([_shown(member) for member in members]),
            discarding=plain(discarded),
            clusters=plain([asdict(cluster) for cluster in clusters_of(members)]),
        )
        return result


_DEBUGGING = {
    "DEFAULT_DEBUG": "ANSIBLE_DEBUG prints whatever modules return and are given",
    "DEFAULT_KEEP_REMOTE_FILES": "ANSIBLE_KEEP_REMOTE_FILES leaves whatever modules are given in files on the hosts",
}


def _refuse_debugging(group: str, variables: Mapping[str, Any]) -> None:
    """Refuse what makes Ansible show or keep the arguments of every module, secret ones too.

    :raises EsyncError: kind ``debugging``.
    """
    hosts = variables["groups"].get(group, [])
    if not any("esync_pfx_passphrase" in variables["hostvars"][host] for host in hosts):
        return
    for setting, what in _DEBUGGING.items():
        if C.config.get_config_value(setting):
            raise EsyncError(
                f"{what}, and esync_pfx_passphrase is given to them",
                f"Run without {what.partition(' ')[0]}",
                kind="debugging",
            )


def _defaults(variables: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What counts for the members that set nothing.

    The options are templated for the host that this task runs on. What that host sets for itself alone says nothing
    about the others.
    """
    own = variables["hostvars"][variables["inventory_hostname"]]
    defaults = {}
    for name in ("port", "directory", "web_roots", "endpoint", "sites", "site", "trust_model", "formats"):
        variable = "esync_endpoint_sites" if name == "sites" else f"esync_{name}"
        try:
            its_own = variable in own and str(plain(own[variable])) == str(options[name])
        except Exception:
            its_own = False  # told by name when that host is judged
        defaults[name] = OPTIONS[name]["default"] if its_own else options[name]
    return defaults


def _member(host: str, variables: Any, defaults: Mapping[str, Any]) -> Member:
    def read(name: str, default: Any) -> Any:
        return _read(host, variables, name, default)

    port = read("esync_port", defaults["port"])
    try:
        number = int(str(port))
    except ValueError:
        raise EsyncError(f"{port!r} is no port", "Set esync_port to 1 to 65535", kind="bad_port", server=host) from None
    web_roots = read("esync_web_roots", defaults["web_roots"])
    address = read("ansible_host", host)
    how = str(read("ansible_connection", "ssh"))
    model = str(read("esync_trust_model", defaults["trust_model"]))
    formats = read("esync_formats", defaults["formats"])
    reached = [how] + [str(read(f"ansible_{name}", "")) for name in ("port", "ssh_common_args", "ssh_extra_args")]
    return Member(
        host=host,
        name=str(read("esync_server_name", host)),
        address=str(read("esync_address", address)),
        port=number,
        directory=str(read("esync_directory", defaults["directory"])),
        web_roots=tuple(str(root) for root in ([web_roots] if isinstance(web_roots, str) else web_roots)),
        sites=sites.read(host, read("esync_endpoint_sites", defaults["sites"]), number),
        asked=sites.asked(read("esync_site", defaults["site"])),
        endpoint=str(read("esync_endpoint", defaults["endpoint"])),
        machine=how if how in ("local", "ansible.builtin.local") else " ".join([str(address), *reached]),
        trust_model=model,
        formats=tuple(str(one) for one in ([formats] if isinstance(formats, str) else formats)),
        passphrase=_passphrase(host, variables, defaults["salt"]) if model == SHARED_KEYS else "",
        cluster=_cluster(host, read("esync_cluster", {}), number),
    )


def _passphrase(host: str, variables: Any, salt: bytes) -> str:
    """A digest of the passphrase that compares it within this run and is of no use afterwards; empty without one."""
    try:
        value = plain(variables.get("esync_pfx_passphrase"))
    except Exception:
        raise _unreadable(host, "esync_pfx_passphrase", "it cannot be evaluated") from None
    return hashlib.sha256(salt + str(value).encode("utf-8")).hexdigest() if value else ""


def _read(host: str, variables: Any, name: str, default: Any) -> Any:
    try:
        value = plain(variables.get(name, default))
    except Exception:
        # The text of a template error can quote other variables.
        raise _unreadable(host, name, "it cannot be evaluated") from None
    # Before ansible-core 2.19 a template with an undefined variable is handed out as it stands.
    if any(mark in str(value) for mark in ("{{", "{%")):
        raise _unreadable(host, name, "it cannot be evaluated, as a rule for a variable in it that is not defined")
    if value is None:
        raise _unreadable(host, name, "it has no value")
    return value


def _cluster(host: str, said: Any, port: int) -> Cluster | None:
    """The cluster that a host says it belongs to.

    :param port: that of the host, which is the balancer's too unless another is given.
    """
    if said == {}:
        return None
    known = {"name", "address", "port"}
    if not isinstance(said, dict) or not {"name", "address"} <= set(said) or not set(said) <= known:
        raise EsyncError(
            "esync_cluster must have a name and an address, may have a port, and nothing else",
            "Correct esync_cluster of this host, or leave it out",
            kind="bad_cluster",
            server=host,
        )
    try:
        number = int(str(said.get("port", port)))
    except ValueError:
        raise EsyncError(
            f"{said['port']!r} is no port",
            "Set the port in esync_cluster to 1 to 65535",
            kind="bad_cluster",
            server=host,
        ) from None
    return Cluster(str(said["name"]), str(said["address"]), number)


def _unreadable(host: str, name: str, cause: str) -> EsyncError:
    return EsyncError(f"the variable {name}: {cause}", f"Correct {name} of this host", kind="bad_variable", server=host)


def _shown(member: Member) -> dict[str, Any]:
    shown = {key: value for key, value in asdict(member).items() if key not in _INTERNAL}
    chosen = [site.shown() for site in member.chosen]
    cluster = member.cluster
    return {
        **shown,
        # Of a server with sites nothing listens on esync_port, unless that is the port of one of them.
        "port": chosen[0]["port"] if chosen else member.port,
        "sites": chosen,
        "cluster": cluster and {"name": cluster.name, "address": cluster.address, "port": cluster.port},
    }
