# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of causes: why a pair fails, what to do, what repair does, what it means behind a load balancer.

A new cause is one row here, its test, and ``make docs``. Messages, reports, the plan of a repair and docs/diagnosis.md
are made from this table; what turns evidence into one of these causes is in causes.py. The caller is the server that
connects, the peer the one that is connected to.
"""

from __future__ import annotations

from typing import Dict, NamedTuple

RESTART_PEER = "restart_peer"
"""Repair stops and starts the endpoint of the peer."""
FOLLOWS_FROM_SERVER = "follows_from_server"
"""A consequence of a problem of one of the two servers, which is repaired there; otherwise it is left to a person."""
BY_HAND = "by_hand"
"""Repair leaves it to a person, and repeats the remedy."""
REPAIRS = (RESTART_PEER, FOLLOWS_FROM_SERVER, BY_HAND)

NO_COMMAND = ""
"""No command of this collection removes the cause."""
ESTABLISH = "ansible-playbook esync.mesh.establish"
ACCEPT_PEER = f"{ESTABLISH} -e esync_accept_changed={{peer}}"
REGENERATE = "ansible-playbook esync.mesh.regenerate"
REPAIR = "ansible-playbook esync.mesh.repair"
VERIFY = "ansible-playbook esync.mesh.verify"


class BehindBalancer(NamedTuple):
    """What is different if the connection went through the load balancer of a cluster.

    :param remedy: what to do then; empty: the same as without a load balancer.
    :param hint: what is added to the evidence; empty: nothing.
    """

    remedy: str
    hint: str


class Cause(NamedTuple):
    """A row of the table. No field has a default, so that no row leaves one out.

    :param title: what happened, a few words.
    :param cause: why.
    :param remedy: what to do.
    :param command: the command that does it, with ``{caller}`` and ``{peer}`` for the names; NO_COMMAND if none does.
    :param repair: what the repair playbook does about it, one of REPAIRS.
    :param balancer: what is different behind a load balancer if no member's certificate was served.
    :param member: likewise, if the certificate of a member was served.
    """

    title: str
    cause: str
    remedy: str
    command: str
    repair: str
    balancer: BehindBalancer
    member: BehindBalancer


AS_DIRECT = BehindBalancer("", "")
_ENDS_AT_BALANCER = (
    "TLS may be ending at the balancer, which then presents a certificate that is not the one of the member."
)
_PASS_THROUGH = (
    "Let the balancer pass the connection on without ending TLS (TCP mode). If it does, and the certificates of a "
    "member were regenerated on purpose, run establish with esync_accept_changed for that member."
)
_LISTED = (
    "Take that server out of the balancer's list for this cluster, or give it the esync_cluster of the cluster; "
    "check also that the address in esync_cluster is the balancer's."
)

CAUSES: Dict[str, Cause] = {
    "name_not_resolved": Cause(
        title="The peer's address cannot be resolved",
        cause="The caller's resolver knows no address for the name under which the peer is listed.",
        remedy="Correct esync_address of the peer, or make the name known on the caller (DNS or /etc/hosts).",
        command=NO_COMMAND,
        repair=BY_HAND,
        balancer=BehindBalancer(
            "Correct the address in esync_cluster, or make the name known on the caller (DNS or /etc/hosts).", ""
        ),
        member=AS_DIRECT,
    ),
    "host_unreachable": Cause(
        title="No way to the peer",
        cause="The network says that the peer's address cannot be reached: the host is down, there is no route, "
        "or a firewall rejects the connection.",
        remedy="Start the peer, and check routes and firewalls between the two; correct esync_address if it is wrong.",
        command=NO_COMMAND,
        repair=BY_HAND,
        balancer=BehindBalancer(
            "Start the balancer, and check routes and firewalls between the caller and the balancer; "
            "correct the address in esync_cluster if it is wrong.",
            "",
        ),
        member=AS_DIRECT,
    ),
    "connection_timed_out": Cause(
        title="The peer does not answer the connection",
        cause="Neither an acceptance nor a refusal came back: usually a firewall drops the packets, or the host is "
        "down.",
        remedy="Allow TCP from the caller to the peer's eSync port in the firewalls between them, and check that the "
        "peer is up.",
        command=NO_COMMAND,
        repair=BY_HAND,
        balancer=BehindBalancer(
            "Allow TCP from the caller to the balancer in the firewalls between them, "
            "and check that the balancer is up.",
            "",
        ),
        member=AS_DIRECT,
    ),
    "endpoint_not_listening": Cause(
        title="Nothing listens on the peer's eSync port",
        cause="The peer's host refused the connection: the eSync service is not started, or uses another port.",
        remedy="Start the service on the peer and check that it listens on esync_port. If it is running already, "
        "stop it, then start it.",
        command=REPAIR,
        repair=RESTART_PEER,
        balancer=BehindBalancer("Start the balancer, and check that it listens on the port in esync_cluster.", ""),
        member=AS_DIRECT,
    ),
    "not_tls": Cause(
        title="What listens there does not speak TLS",
        cause="The port answers with something other than TLS, or accepts the connection and sends nothing: "
        "another service has the port, the right one hangs, or it begins in a protocol of its own (SMTP, PostgreSQL).",
        remedy="Find out which process listens (ss -ltnp on the peer). Correct esync_port, or stop the service, then "
        "start it. A service that does not begin with TLS needs another one in front of it (docs/endpoint.md).",
        command=REPAIR,
        repair=RESTART_PEER,
        balancer=BehindBalancer(
            "Check that the balancer considers at least one member up, and that it passes the connection on "
            "unchanged: TCP mode, without the PROXY protocol.",
            "",
        ),
        member=AS_DIRECT,
    ),
    "tls_version_refused": Cause(
        title="No TLS version or cipher in common",
        cause="The peer offers nothing from TLS 1.2 on, or no cipher suite that the caller accepts.",
        remedy="Allow TLS 1.2 and 1.3 in the peer's service, or update it. Older versions are not safe and are not "
        "used.",
        command=NO_COMMAND,
        repair=BY_HAND,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "tls_failed": Cause(
        title="The TLS connection failed",
        cause="The two could not agree, for a reason that says nothing about certificates.",
        remedy="Read the log of the peer's service at this moment; stop the service, then start it.",
        command=REPAIR,
        repair=RESTART_PEER,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "server_certificate_unknown": Cause(
        title="The peer presents a certificate that nobody expects",
        cause="Neither the ledger nor the caller's trust has the certificate that the peer's endpoint serves: "
        "its certificates were regenerated without an exchange, or something else answers.",
        remedy="If the peer's certificates were regenerated on purpose, run establish with esync_accept_changed for "
        "it. Otherwise find out what answers at its address before you trust it.",
        command=ACCEPT_PEER,
        repair=BY_HAND,
        balancer=BehindBalancer(_PASS_THROUGH, _ENDS_AT_BALANCER),
        member=AS_DIRECT,
    ),
    "server_certificate_expired": Cause(
        title="The peer's certificate has expired",
        cause="The certificate is the expected one, but it has expired.",
        remedy="Run the regenerate playbook; it works over ssh, also when every certificate has expired.",
        command=REGENERATE,
        repair=FOLLOWS_FROM_SERVER,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "server_certificate_not_yet_valid": Cause(
        title="The peer's certificate is not valid yet",
        cause="The certificate is the expected one, but by the caller's clock it is not valid yet.",
        remedy="Compare the clocks of both servers (timedatectl) and correct the wrong one; then test again.",
        command=VERIFY,
        repair=BY_HAND,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "stale_generation_served": Cause(
        title="The peer still serves another generation",
        cause="The peer's files were changed, but its endpoint serves a generation other than the required one: "
        "it was not reloaded, or its reload failed.",
        remedy="Reload the peer's service and read what the reload reports; if that does not help, stop it, then start "
        "it.",
        command=REPAIR,
        repair=RESTART_PEER,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "another_server_answers": Cause(
        title="Another member of the mesh answers",
        cause="At the peer's address and port a different server answers: addresses are mixed up.",
        remedy="Correct esync_address and esync_port in the inventory, or the name's entry in DNS or /etc/hosts.",
        command=NO_COMMAND,
        repair=BY_HAND,
        balancer=BehindBalancer(_LISTED, ""),
        # The certificate is that of one server, the answer another's.
        member=BehindBalancer(_PASS_THROUGH, _ENDS_AT_BALANCER),
    ),
    "another_site_answers": Cause(
        title="Another site of the peer answers",
        cause="Instead of the called site of the peer another one answers, or an endpoint that has no sites: "
        "what is served there is not what the inventory describes.",
        remedy="Run establish for the peer. If that does not help, correct port and server_name of the site in "
        "esync_endpoint_sites, and look for another program that has them.",
        command=ESTABLISH,
        repair=BY_HAND,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "self_connection": Cause(
        title="The caller reached itself",
        cause="The peer's address leads back to the caller, which served its own certificate.",
        remedy="Correct esync_address of the peer, and look for a name in /etc/hosts that points to 127.0.0.1 or "
        "127.0.1.1.",
        command=NO_COMMAND,
        repair=BY_HAND,
        balancer=BehindBalancer(_LISTED, ""),
        member=AS_DIRECT,
    ),
    "wrong_role": Cause(
        title="A certificate is used in the wrong role",
        cause="A client certificate is served as the server's, or a server certificate presented as the client's.",
        remedy="Point the service at current/server.crt and current/server.key, callers at current/client.crt and "
        "client.key.",
        command=NO_COMMAND,
        repair=BY_HAND,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "client_certificate_refused": Cause(
        title="The peer refuses the caller's certificate",
        cause="The peer does not trust the certificate that the caller presents: the caller is missing in its trust, "
        "or its endpoint has not loaded the trust that is on its disk.",
        remedy="Run establish for both; if the peer's trust has the caller already, reload the peer's service.",
        command=ESTABLISH,
        repair=RESTART_PEER,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "client_certificate_expired": Cause(
        title="The caller's certificate has expired",
        cause="The peer refuses the caller because its client certificate has expired.",
        remedy="Run the regenerate playbook; it works over ssh, also when every certificate has expired.",
        command=REGENERATE,
        repair=FOLLOWS_FROM_SERVER,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "taken_for_another": Cause(
        title="The peer takes the caller for another server",
        cause="The peer accepted the certificate, but has it under another name: its trust is mixed up.",
        remedy="Run establish for both, which writes the peer's trust again; then reload its service.",
        command=ESTABLISH,
        repair=BY_HAND,
        balancer=AS_DIRECT,
        member=BehindBalancer(_PASS_THROUGH, _ENDS_AT_BALANCER),
    ),
    "no_certificate": Cause(
        title="The caller has no such certificate",
        cause="There is no set of the required generation on the caller, so it has nothing to present.",
        remedy="Run establish, which creates the sets.",
        command=ESTABLISH,
        repair=FOLLOWS_FROM_SERVER,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "not_handed": Cause(
        title="The caller does not have the peer's shared client key",
        cause="The peer accepts only its own client set (esync_trust_model: shared_keys), and the caller does not have "
        "it, or not the required generation of it.",
        remedy="Run establish for both, which distributes the shared client keys; that of an external peer comes in a "
        "folder: run apply.",
        command=ESTABLISH,
        repair=BY_HAND,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "no_trust": Cause(
        title="The caller has no trust in force",
        cause="There are no certificates of the other servers on the caller, so it can accept none of them.",
        remedy="Run establish, which exchanges the certificates.",
        command=ESTABLISH,
        repair=FOLLOWS_FROM_SERVER,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "key_mismatch": Cause(
        title="Key and certificate do not belong together",
        cause="The private key on the caller is not the one of the certificate beside it.",
        remedy="Restore the files, or have new ones created: the regenerate playbook, or esync_discard_existing.",
        command=f"{ESTABLISH} -e esync_discard_existing={{caller}}",
        repair=FOLLOWS_FROM_SERVER,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "damaged_file": Cause(
        title="A file on the caller is damaged or missing",
        cause="A certificate, key or trust file cannot be read.",
        remedy="Restore the file. For the server's own set esync_discard_existing helps too, for the trust run "
        "establish.",
        command=REPAIR,
        repair=FOLLOWS_FROM_SERVER,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "certificate_too_weak": Cause(
        title="A certificate is too weak for the policy of a host",
        cause="The OpenSSL of one of the two hosts is set to a security level (SECLEVEL, a crypto policy) at which "
        "keys of this size are not used; RSA with 2048 bits is too small from level 3 on.",
        remedy="Set esync_key_size: 3072 for the whole mesh (384 with esync_key_type: ecdsa), and run regenerate; "
        "a host that cannot use its own certificates needs new ones at once: establish with esync_discard_existing.",
        command=REGENERATE,
        repair=BY_HAND,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "no_answer_after_handshake": Cause(
        title="No answer after the handshake",
        cause="The TLS handshake succeeded, but then the peer closed the connection or sent nothing: "
        "its service hangs, has a failure behind TLS, or refuses without saying so.",
        remedy="Read the log of the peer's service; stop it, then start it. Check also that the peer's trust has the "
        "caller.",
        command=REPAIR,
        repair=RESTART_PEER,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "clock_skew": Cause(
        title="A clock is wrong",
        cause="The certificates' times cannot be right on both sides: the clock of the caller or the peer is off.",
        remedy="Compare the clocks of both servers (timedatectl), correct the wrong one and let both follow a time "
        "server.",
        command=NO_COMMAND,
        repair=BY_HAND,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "version_mismatch": Cause(
        title="The product versions differ",
        cause="The two servers run different versions of the product, which must be the same in the entire mesh.",
        remedy="Update the older one.",
        command=NO_COMMAND,
        repair=BY_HAND,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "not_refused": Cause(
        title="The peer accepted a caller that it must refuse",
        cause="The endpoint answered a caller without a trusted certificate: it does not check, or trusts too many.",
        remedy="Let the service demand certificates and trust only trusted/clients.pem; reload it, and test again.",
        command=VERIFY,
        repair=BY_HAND,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "host_failed": Cause(
        title="A server failed before the test",
        cause="One of the two servers ended with an error earlier in the run, so the pair was not tested.",
        remedy="Read that error in the output of the run, remove its cause and run again.",
        command=NO_COMMAND,
        repair=FOLLOWS_FROM_SERVER,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
    "not_tested": Cause(
        title="The pair was not tested",
        cause="Both servers took part, but the caller returned no result for the pair.",
        remedy="Read what went wrong before in the output of the run, and run again.",
        command=VERIFY,
        repair=BY_HAND,
        balancer=AS_DIRECT,
        member=AS_DIRECT,
    ),
}
