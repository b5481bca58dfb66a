# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be mended, planned from a report: the smallest thing for each fault, and nothing for what is sound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.clusters import label_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.wording import place_of

RENEW, RESTORE, EXCHANGE, RESTART = "renew", "restore", "exchange", "restart"

ACTIONS: Mapping[str, str] = {
    RENEW: "destroy its sets and make new ones, for they serve nobody any more",
    RESTORE: "mend the modes of its files",
    EXCHANGE: "bring its trust and its entry in the ledger up to date",
    RESTART: "stop its endpoint, then start it",
}
"""What is done, in the order in which it is done."""

_BY_PROBLEM: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "damaged_file",
            "missing_file",
            "mismatch",
            "wrong_name",
            "wrong_role",
            "not_a_file",
            "not_a_folder",
            "not_a_link",
            "unexpected_link",
            "expired",
        ),
        RENEW,
    ),
    "wrong_mode": RESTORE,
    **dict.fromkeys(
        (
            *("no_certificates", "no_trust", "damaged_trust", "trust_missing", "trust_unexpected", "ledger_unexpected"),
            *("damaged_shared_keys", "shared_keys_missing", "shared_keys_unexpected"),
        ),
        EXCHANGE,
    ),
    "another_certificate_served": RESTART,
    "endpoint_not_listening": RESTART,
}
# What an endpoint does that has not taken up what lies on its disk, hangs, or is not there.
_ENDPOINT_CAUSES = frozenset(
    [
        "endpoint_not_listening",
        "not_tls",
        "tls_failed",
        "stale_generation_served",
        "client_certificate_refused",
        "no_answer_after_handshake",
    ]
)
# The causes that follow from a problem of a server, which is mended there.
_FOLLOWS = frozenset(
    [
        "server_certificate_expired",
        "client_certificate_expired",
        "damaged_file",
        "key_mismatch",
        "no_certificate",
        "host_failed",
    ]
)


@dataclass(frozen=True)
class RepairPlan:
    """What to do on which server, and what is left.

    :param servers: server name to actions, in their order; only servers with something to do.
    :param left: what cannot be mended from here, with what to do about it.
    :param lines: the plan in words.
    """

    servers: Mapping[str, tuple[str, ...]]
    left: tuple[str, ...]
    lines: tuple[str, ...]


def plan_repair(report: Mapping[str, Any], restartable: Iterable[str]) -> RepairPlan:
    """Plan the repair of what a report shows.

    :param report: the content of ``mesh.json``, of a run that judged every server.
    :param restartable: the servers whose endpoint can be stopped and started.
    """
    able = frozenset(restartable)
    # What the ledger has of these is in doubt, and everybody's trust is made from the ledger.
    disputed = sorted({str(one["server"]) for one in report["problems"] if one["kind"] == "ledger_missing"})
    wanted: dict[str, dict[str, str]] = {}
    left: list[str] = []

    def want(server: str, action: str, why: str) -> None:
        if action == RESTART and server not in able:
            left.append(
                f"{server}: {why}. Its endpoint is not ours to stop and start: do it by hand, "
                "or set esync_stop_command and esync_start_command."
            )
        elif action in (RENEW, EXCHANGE) and disputed:
            left.append(f"{server}: {why}. First settle what the ledger has of {', '.join(disputed)}.")
        else:
            wanted.setdefault(server, {}).setdefault(action, why)

    for problem in report["problems"]:
        if problem["severity"] != "fault":
            continue
        action = _BY_PROBLEM.get(str(problem["kind"]))
        place = f"{problem['path']}: " if problem["path"] else ""
        why = " ".join(filter(None, [f"{place}{str(problem['cause']).rstrip('.')}.", str(problem["evidence"])]))
        if action:
            want(str(problem["server"]), action, why.rstrip("."))
        else:
            left.append(f"{problem['server']}: {why} {problem['remedy']}".strip())
    troubled = set(wanted)
    for pair in report["pairs"]:
        if pair["verdict"] == "ok" or pair["cause"] is None:
            continue
        cause, target = str(pair["cause"]), str(pair["to"])
        label = f"{pair['from']} -> {place_of(target, pair.get('site'))}"
        if cause in _ENDPOINT_CAUSES and pair["verdict"] == "failed":
            if target not in troubled:
                want(target, RESTART, f"{label}: {cause}")
        elif not (cause in _FOLLOWS and troubled & {str(pair["from"]), target}):
            left.append(f"{label}: {cause}. {pair['detail']} {pair['remedy']}".strip())
    for cluster in report.get("clusters", ()):
        for call in cluster["connections"]:
            # What a member does wrong is mended there; the balancer is not ours.
            if (
                call["verdict"] == "failed"
                and not troubled & set(cluster["members"])
                and not wanted.keys() & set(cluster["members"])
            ):
                name = label_of(call["from"], cluster["name"])
                left.append(f"{name}: {call['cause']}. {call['detail']} {call['remedy']}".strip())
    for refusal in report["refusals"]:
        if refusal["verdict"] == "failed":
            place = place_of(str(refusal["to"]), refusal.get("site"))
            left.append(f"{place}: {refusal['cause']}. {refusal['detail']} {refusal['remedy']}".strip())
    servers = {server: tuple(one for one in ACTIONS if one in wanted[server]) for server in sorted(wanted)}
    lines = [f"{server}: {ACTIONS[one]} ({wanted[server][one]})." for server in servers for one in servers[server]]
    shown = tuple(dict.fromkeys(left))
    return RepairPlan(
        servers=servers,
        left=shown,
        lines=(
            *(lines or ["Nothing is wrong that can be mended from here."]),
            *(f"Left as it is: {text}" for text in shown),
        ),
    )
