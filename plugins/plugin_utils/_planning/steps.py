# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of a visit, each as the module of the same name takes it by itself."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    CURRENT,
    ESYNC_PORT,
    NEXT,
    PINNED,
    STATES,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import TrustEntry, servers_in
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.sites import KEYS
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import external_peers_of
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord, read_generations
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import (
    EXTERNAL,
    OK,
    TEMPORARY,
    Run,
    Server,
    next_in_ring,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import TrustPlan, plan_trust

Step = dict[str, Any]

_SET_OPTIONS = (
    "address",
    "key_type",
    "key_size",
    "renew_before_days",
    "formats",
    "pfx_encryption",
    "file_group",
    "product_version",
)


def step(name: str, check: bool = False, when: Mapping[str, Any] | None = None, **options: Any) -> Step:
    """One step. :param options: those of the module; None: the module's default."""
    made: Step = {"step": name, "options": {key: value for key, value in options.items() if value is not None}}
    if check:
        made["check"] = True
    if when is not None:
        made["when"] = dict(when)
    return made


# -- a server's own sets --------------------------------------------------------------------------------------------


def alt_names(server: Server) -> list[str]:
    """Names and addresses in a server's certificates, besides its own.

    Those of its cluster, and of its sites, chosen or not, so that choosing another makes no certificate due.
    """
    settings = server.settings
    cluster = settings["esync_cluster"] or {}
    sites = [str(site.get("server_name") or "").lower() for site in settings["esync_endpoint_sites"]]
    named = (*settings["esync_subject_alt_names"], cluster.get("name"), cluster.get("address"), *sites)
    return [str(name) for name in named if name]


def certificate_set(run: Run, server: Server, check: bool = False, **options: Any) -> Step:
    """Generate, keep, switch, retire or destroy the server's own sets."""
    return step(
        "certificate_set",
        check,
        **_about_sets(server),
        valid_days=server.settings["esync_valid_days"],
        web_roots=server.settings["esync_web_roots"],
        max_clock_skew=run.mesh["esync_max_clock_skew"],
        **options,
    )


def destroyed_set(server: Server) -> Step:
    """Destroy everything of ours on a host, whatever its clock or its settings say by now."""
    return step("certificate_set", state="absent", web_roots=server.settings["esync_web_roots"])


def certificate_info(server: Server, deep: bool = False) -> Step:
    """Read what lies on the host."""
    return step("certificate_info", **_about_sets(server), deep=deep)


def _about_sets(server: Server) -> dict[str, Any]:
    found = {name: server.settings.get(f"esync_{name}") for name in _SET_OPTIONS}
    return {**found, "subject_alt_names": alt_names(server), "control_clock": time.time()}


def name_resolution_info(server: Server, addresses: Iterable[str]) -> Step:
    """Read which addresses of its peers a server can resolve."""
    return step("name_resolution_info", addresses=sorted(addresses), timeout=server.settings["esync_connect_timeout"])


# -- trust ----------------------------------------------------------------------------------------------------------


def ledger_for(run: Run, server: Server) -> dict[str, LedgerRecord]:
    """What a server is planned by: the ledger, which counts for nothing where it is in dispute.

    Of itself such a server knows better what it has.
    """
    found = dict(run.ledger)
    for name in run.disputed:
        if name in found:
            own = server.read["generations"] if name == server.name and "generations" in server.read else ()
            found[name] = replace(found[name], generations=read_generations(own, f"the certificates of {name}"))
    return found


def trust_of(
    run: Run, server: Server, accepts: str | None = None, distrust: Sequence[str] = (), known: bool = True
) -> TrustPlan:
    """The trust that a server is to have by the ledger.

    :param accepts: the trust model, while it is not the one of the settings. :param distrust: names to keep nothing of.
    :param known: whether the trust in force is known; if not, only what the ledger says is planned.
    :raises EsyncError: kind ``empty_trust``.
    """
    return plan_trust(
        server.name,
        run.names,
        ledger_for(run, server),
        server.trust if known else None,
        server.trust_is_intact,
        distrust,
        bool(run.mesh["esync_allow_shrink"]),
        accepts or run.model,
        server.remembered if known else (),
    )


def peer_trust(run: Run, server: Server, plan: TrustPlan) -> Step:
    """Put a planned trust in force; only what is missing on the server is sent. Remembers what was sent."""
    server.sent, server.told = [asdict(entry) for entry in plan.entries], [asdict(one) for one in plan.told]
    pems = {
        str(facts["fingerprint"]): str(facts["pem"])
        for record in run.ledger.values()
        for generation in record.generations
        for facts in generation.certificates.values()
    }
    # A damaged trust is written again from what is sent, because its own files may be the damaged ones.
    wanted = plan.send if server.trust_is_intact else [entry.fingerprint for entry in plan.entries]
    return step(
        "peer_trust",
        entries=server.sent,
        certificates=[pems[one] for one in sorted(set(wanted)) if one in pems],
        # The plan refuses to empty a trust that nobody asked to empty.
        allow_empty=not plan.entries,
        distrusted=server.told,
        web_roots=server.settings["esync_web_roots"],
    )


# -- the endpoint ---------------------------------------------------------------------------------------------------


def endpoint(
    server: Server,
    state: str = "present",
    restart: bool = False,
    when: Any = None,
    spare: bool = False,
    withdrawn: Sequence[LedgerRecord] = (),
) -> Step:
    """Let the resident endpoint load what is in force, or check whether it has.

    :param spare: whether connections go on that certificates opened which are not trusted any more.
    :param withdrawn: the servers that lose all trust at this moment.
    """
    settings = server.settings
    return step(
        "endpoint",
        when=when,
        driver=settings["esync_endpoint"],
        state=state,
        port=settings["esync_port"],
        address=server.address,
        sites=[
            {key: site[key] for key in KEYS if site[key]}
            for site in server.sites
            if not site["attached"] and site["name"] != ESYNC_PORT
        ],
        services=[
            {key: site[key] for key in ("name", "port", "reload", "protocol", "owner") if site[key]}
            for site in server.sites
            if site["attached"]
        ],
        configuration=settings["esync_endpoint_configuration"],
        service=settings["esync_endpoint_service"],
        upstream=settings["esync_endpoint_upstream"],
        access_log=settings["esync_endpoint_access_log"],
        reload_command=settings["esync_reload_command"],
        stop_command=settings["esync_stop_command"],
        start_command=settings["esync_start_command"],
        restart=restart,
        jitter=settings["esync_reload_jitter"],
        timeout=settings["esync_endpoint_timeout"],
        product_version=server.read.get("product_version"),
        spare=spare,
        withdrawn=[{"address": one.address, "port": one.port} for one in withdrawn if one.address and one.port],
    )


def drained(server: Server) -> Step:
    """End the connections that retired certificates opened, once they had their time. It loads nothing."""
    made = endpoint(server, "drained")
    made["options"]["drain"] = server.settings["esync_drain_seconds"]
    return {**made, "tag": "drained"}


def watched(run: Run, server: Server, retired: Sequence[str], seconds: float) -> Step:
    """Look who still presents what is about to be retired, and wait for them so long. It changes nothing.

    :param retired: the fingerprints of client certificates.
    """
    made = endpoint(server, "watched")
    made["options"].update(
        retired=list(retired),
        since=run.switched_at + (server.clock_ahead or 0),
        wait=seconds,
        peer_ports=sorted({int(site["port"]) for one in run.members if one is not server for site in one.places}),
    )
    return {**made, "tag": "watched"}


def can_restart(server: Server) -> bool:
    """Whether its endpoint can be stopped and started from here."""
    settings = server.settings
    own = settings["esync_stop_command"] and settings["esync_start_command"]
    return bool(server.serves and (settings["esync_endpoint"] != EXTERNAL or own))


def probe_listener(run: Run, server: Server, serve: str = CURRENT, when: Any = None) -> Step:
    """Listen on the eSync port while the others test."""
    server.listening = True
    return step(
        "probe_listener",
        when=when,
        address=server.settings["esync_listen_address"],
        port=server.settings["esync_port"],
        lifetime=server.settings["esync_listen_seconds"],
        serve=serve,
        expected=[one.name for one in run.counterparts(server)],
        product_version=server.read.get("product_version"),
    )


# -- the test -------------------------------------------------------------------------------------------------------


def peers_of(run: Run, server: Server, names: Collection[str], entries: Iterable[TrustEntry]) -> list[dict[str, Any]]:
    """The peers to test: where each is, and which server certificates it may present.

    A peer whose certificates apply to sites comes once for each. Of one that the ledger does not know, the host
    looks up itself what it trusts.
    """
    expected = servers_in(entries)
    return [
        {
            "name": peer.name,
            "address": peer.address,
            "port": site["port"],
            "site": site["name"],
            "server_name": site["server_name"],
            "protocol": site["protocol"],
            "expected": expected.get(peer.name),
        }
        for peer in run.members
        if peer.name in names and peer.name != server.name
        for site in peer.places
    ]


def external_peers(run: Run, entries: Iterable[TrustEntry]) -> list[dict[str, Any]]:
    """The external peers whose endpoint is known, as :func:`peers_of` has members."""
    expected = servers_in(entries)
    found = [run.ledger[name] for name in external_peers_of(run.names, run.ledger)]
    return [
        {"name": one.name, "address": one.address, "port": one.port, "expected": expected.get(one.name, {})}
        for one in found
        if one.port
    ]


def peer_probe(
    run: Run,
    server: Server,
    peers: Sequence[Mapping[str, Any]],
    present: str = CURRENT,
    refused: bool = False,
    require: Sequence[str] = STATES,
    model: str | None = None,
    refusals: bool = False,
    through_balancers: bool = True,
) -> Step:
    """Connect to every peer and exchange bytes both ways, or prove that every peer refuses.

    :param present: the certificate to present. :param refused: whether the peers must refuse it.
    :param require: the generations that a peer may serve. :param model: the trust model by which it is presented.
    :param refusals: whether to try, at one peer, what must be refused besides.
    :param through_balancers: whether clusters of these peers are called too.
    """
    settings = server.settings
    shown = model or run.model
    names = {str(peer["name"]) for peer in peers}
    reached = {one.name for one in run.counterparts(server) if one.state == OK} & names
    ring = [next_in_ring(server.name, reached or names)] if refusals and names else []
    clusters = _called(run, server, names) if through_balancers and not refused else []
    return step(
        "peer_probe",
        peers=list(peers),
        present=CURRENT if present == NEXT and shown == PINNED and not server.has(NEXT) else present,
        expect="refused" if refused else "accepted",
        require=list(require),
        refusals=ring,
        clusters=clusters,
        cluster_patience=settings["esync_connect_timeout"] if settings["esync_endpoint"] == TEMPORARY else 0,
        concurrency=settings["esync_probe_concurrency"],
        connect_timeout=settings["esync_connect_timeout"],
        answer_timeout=settings["esync_answer_timeout"],
        product_version=server.read.get("product_version"),
        trust_model=shown,
    )


def external_probe(run: Run, server: Server, peers: Sequence[Mapping[str, Any]]) -> Step:
    """Connect to external peers. They run what they like, so versions are not compared, and no cluster is called."""
    made = peer_probe(run, server, peers, through_balancers=False)
    made["options"].pop("product_version", None)
    return {**made, "tag": "external"}


def _called(run: Run, server: Server, names: Collection[str]) -> list[dict[str, Any]]:
    """The clusters to call: those without this server. A balancer may choose any member, so all have to take part."""
    return [
        {key: cluster[key] for key in ("name", "address", "port", "members")}
        for cluster in run.clusters
        if server.name not in cluster["members"] and set(cluster["members"]) <= set(names)
    ]


def waiting_seconds(steps: Iterable[Step]) -> float:
    """How long these steps may wait for others at most, in seconds, by their own time-outs."""
    total = 0.0
    for one in steps:
        if one.get("step") == "peer_probe":
            options = one["options"]
            rounds = -(-len(options["peers"]) // max(1, int(options["concurrency"])))
            calls = 2 * len(options["clusters"]) + 6 * bool(options["refusals"])
            total += (rounds + calls) * (2 * float(options["connect_timeout"]) + float(options["answer_timeout"]))
        elif one.get("step") == "endpoint" and one["options"]["state"] == "drained":
            total += float(one["options"]["drain"])
        elif one.get("step") == "endpoint" and one["options"]["state"] == "watched":
            total += float(one["options"]["wait"])
    return total
