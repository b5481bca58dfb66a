# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The faults that are caused on the hosts: for each, what is done, what is undone, and what must be told.

alpha and bravo are nginx, charlie is HAProxy in front of rsync's daemon.
"""

from __future__ import annotations

from dataclasses import dataclass

PORT = 8732
FILES = "/etc/esync"
CONF = "/etc/nginx/conf.d/esync-mesh.conf"
RELOAD = "reload-nginx"


@dataclass(frozen=True)
class Fault:
    """A fault on one host.

    :param cause: the key that is to be told of the pairs. :param pairs: ``from to`` of those that must fail; all others
        must work. :param says: what must stand in each pair's detail. :param remedy: what must stand in the remedy.
    :param host: where it is caused. :param do: shell commands. :param undo: shell commands.
    :param options: further options of the playbook.
    """

    name: str
    cause: str
    pairs: tuple[str, ...]
    host: str
    do: str
    undo: str
    says: tuple[str, ...] = ()
    remedy: str = ""
    options: tuple[str, ...] = ()


def hosts_entry(name: str, address: str) -> str:
    """Let a host find another under an address; nothing removes the name."""
    new = f"echo '{address} {name}.mesh.test'" if address else "true"
    return f"(grep -v ' {name}.mesh.test' /root/hosts; {new}) > /etc/hosts"


def nginx(host: str, edit: str) -> dict[str, str]:
    """Edit the endpoint's configuration on a host with sed."""
    return {
        "host": host,
        "do": f"cp {CONF} /root/conf && sed -i {edit} {CONF} && ! cmp -s {CONF} /root/conf && {RELOAD}",
        "undo": f"cp /root/conf {CONF} && {RELOAD}",
    }


def files(host: str, do: str) -> dict[str, str]:
    """Damage a host's own files."""
    return {
        "host": host,
        "do": f"rm -rf /root/kept && cp -a {FILES} /root/kept && cd {FILES} && {do}",
        "undo": f"find {FILES} -mindepth 1 -delete && cp -a /root/kept/. {FILES}",
    }


def other_service(command: str) -> dict[str, str]:
    """Let something else listen on bravo's eSync port."""
    return {
        "host": "bravo",
        "do": f"systemctl stop nginx && systemd-run --quiet --unit other {command}"
        f" && timeout 10 sh -c 'until ss -Hltn sport = :{PORT} | grep -q .; do sleep 0.1; done'",
        "undo": "systemctl stop other; systemctl reset-failed other 2>/dev/null; systemctl start nginx",
    }


FIREWALL = (
    "nft add table ip lab && nft add chain ip lab in '{ type filter hook input priority 0; }' && nft add rule ip lab in"
)
HOSTS_AS_BEFORE = "cat /root/hosts > /etc/hosts"
TO_BRAVO = ("alpha bravo", "charlie bravo")
FROM_BRAVO = ("bravo alpha", "bravo charlie")
BRAVO = "bravo (bravo.mesh.test:8732)"
SILENT = "/usr/bin/python3 -c 'import socket,time; s=socket.create_server((\"\",8732)); time.sleep(999)'"

FAULTS = (
    Fault(
        "name",
        "name_not_resolved",
        ("alpha bravo",),
        "alpha",
        hosts_entry("bravo", ""),
        HOSTS_AS_BEFORE,
        ("alpha cannot resolve 'bravo.mesh.test', the address of bravo",),
        "Correct esync_address",
    ),
    Fault(
        "no route",
        "host_unreachable",
        ("alpha bravo",),
        "alpha",
        "ip rule add to 10.123.48.12 ipproto 6 dport 8732 unreachable",
        "ip rule del to 10.123.48.12 ipproto 6 dport 8732 unreachable",
        (f"alpha cannot reach {BRAVO}: network is unreachable", "On bravo itself its endpoint answers"),
        "routes and firewalls",
    ),
    Fault(
        "firewall rejects",
        "host_unreachable",
        ("alpha bravo",),
        "bravo",
        f"{FIREWALL} ip saddr 10.123.48.11 tcp dport 8732 reject with icmp type host-prohibited",
        "nft delete table ip lab",
        (f"alpha cannot reach {BRAVO}", "On bravo itself its endpoint answers"),
        "routes and firewalls",
    ),
    Fault(
        "firewall drops",
        "connection_timed_out",
        TO_BRAVO,
        "bravo",
        f"{FIREWALL} ip saddr 10.123.48.0/24 tcp dport 8732 drop",
        "nft delete table ip lab",
        (f"{BRAVO} did not answer within 2 s", "On bravo itself its endpoint answers"),
        "Allow TCP",
    ),
    Fault(
        "stopped",
        "endpoint_not_listening",
        TO_BRAVO,
        "bravo",
        "systemctl stop nginx",
        "systemctl start nginx",
        (f"{BRAVO} refused the connection", "On bravo itself nothing answers on its eSync port either"),
        "Start the service",
    ),
    Fault(
        "plain HTTP",
        "not_tls",
        TO_BRAVO,
        **other_service("/usr/bin/python3 -m http.server 8732"),
        says=(f"{BRAVO} answered the TLS handshake", "something else than TLS"),
        remedy="Find out which process listens",
    ),
    Fault(
        "silent service",
        "not_tls",
        TO_BRAVO,
        **other_service(SILENT),
        says=(f"{BRAVO} took the connection, but did not answer the TLS handshake within 2 s",),
        remedy="Find out which process listens",
    ),
    Fault(
        "TLS 1.1",
        "tls_version_refused",
        TO_BRAVO,
        **nginx("bravo", "'s/ssl_protocols .*/ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;/'"),
        says=(BRAVO, "no TLS version or cipher in common"),
        remedy="Allow TLS 1.2 and 1.3",
    ),
    Fault(
        "no common cipher",
        "tls_version_refused",
        TO_BRAVO,
        **nginx("bravo", "'s/ssl_protocols .*/ssl_protocols TLSv1.2; ssl_ciphers ADH-AES128-SHA256:@SECLEVEL=0;/'"),
        says=(BRAVO, "no TLS version or cipher in common"),
        remedy="Allow TLS 1.2 and 1.3",
    ),
    Fault(
        "names turned away",
        "tls_failed",
        TO_BRAVO,
        **nginx("bravo", "'s/ssl_verify_depth .*/ssl_verify_depth 0; ssl_reject_handshake on;/'"),
        says=(BRAVO, "with the alert unrecognized_name"),
        remedy="log of the peer's service",
    ),
    Fault(
        "client certificate served",
        "wrong_role",
        TO_BRAVO,
        **nginx("bravo", "'/ssl_certificate/s/current.server/current\\/client/'"),
        says=(f"{BRAVO} serves ", "the client certificate of bravo: {bravo.client}"),
        remedy="Point the service at current/server.crt",
    ),
    Fault(
        "stranger's certificate served",
        "server_certificate_unknown",
        TO_BRAVO,
        "bravo",
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=other -keyout /root/o.key -out /root/o.crt -days 9 2>&1"
        f" && cp {CONF} /root/conf && sed -i 's#{FILES}/current/server#/root/o#' {CONF} && {RELOAD}",
        f"cp /root/conf {CONF} && {RELOAD}",
        (BRAVO, "expects {bravo.server}", "bravo itself serves it, but has {bravo.server}"),
        "Point the service of bravo at current/server.crt",
    ),
    Fault(
        "addresses mixed up",
        "another_server_answers",
        ("charlie bravo",),
        "charlie",
        hosts_entry("bravo", "10.123.48.11"),
        HOSTS_AS_BEFORE,
        (f"Where charlie looked for {BRAVO} the server certificate of alpha was served: {{alpha.server}}",),
        "Correct esync_address",
    ),
    Fault(
        "itself",
        "self_connection",
        ("alpha bravo",),
        "alpha",
        hosts_entry("bravo", "127.0.0.1"),
        HOSTS_AS_BEFORE,
        (f"Where alpha looked for {BRAVO} its own server certificate was served: {{alpha.server}}",),
        "127.0.1.1",
    ),
    Fault(
        "peers' names swapped",
        "taken_for_another",
        ("alpha bravo", "charlie bravo"),
        "bravo",
        f"map=$(realpath {FILES}/trusted/clients.map) && cp $map /root/map"
        f" && sed -i 's/alpha/X/; s/charlie/alpha/; s/X/charlie/' $map && {RELOAD}",
        f"cp /root/map $(realpath {FILES}/trusted/clients.map) && {RELOAD}",
        (f"{BRAVO} takes ", " for '"),
        "which writes the peer's trust again",
    ),
    Fault(
        "no answer",
        "no_answer_after_handshake",
        TO_BRAVO,
        **nginx("bravo", "'s/return 200/return 444; #/'"),
        says=(f"{BRAVO} closed the connection without a byte after the handshake",),
        remedy="log of the peer's service",
    ),
    Fault(
        "another version",
        "version_mismatch",
        (*TO_BRAVO, *FROM_BRAVO),
        "bravo",
        "echo 1.9 > /etc/product-version",
        "echo 2.0 > /etc/product-version",
        ("bravo runs '1.9'", " runs '2.0'"),
        "Update the older one",
    ),
    Fault(
        "everybody let in",
        "not_refused",
        ("alpha bravo",),
        **nginx("bravo", "'s/ssl_verify_client on/ssl_verify_client optional_no_ca/; /if (.esync_peer/,/}/d'"),
        says=("bravo accepted alpha, which presented no certificate",),
        remedy="trust only trusted/clients.pem",
    ),
    Fault(
        "another key",
        "key_mismatch",
        FROM_BRAVO,
        **files("bravo", "cat current/server.key > current/client.key"),
        says=("bravo cannot use /etc/esync/generations/", "client.key: it is not the private key of the certificate"),
        remedy="esync_discard_existing",
    ),
    Fault(
        "damaged certificate",
        "damaged_file",
        FROM_BRAVO,
        **files("bravo", "echo rubbish > current/client.crt"),
        says=("bravo cannot use /etc/esync/generations/", "client.crt: it holds no certificate in PEM"),
        remedy="esync_discard_existing",
    ),
    Fault(
        "damaged trust",
        "damaged_file",
        FROM_BRAVO,
        **files("bravo", "echo rubbish > trusted/trust.json"),
        says=("bravo cannot use /etc/esync/remote/", "trust.json"),
        remedy="run establish",
    ),
    Fault(
        "no certificates",
        "no_certificate",
        FROM_BRAVO,
        **files("bravo", "rm current"),
        says=("bravo cannot use /etc/esync/current: there is no current generation",),
        remedy="Run establish",
    ),
    Fault(
        "no trust",
        "no_trust",
        FROM_BRAVO,
        **files("bravo", "rm trusted"),
        says=("bravo cannot use /etc/esync/trusted: there is no trust in force",),
        remedy="Run establish",
    ),
    Fault(
        "a server without its library",
        "host_failed",
        FROM_BRAVO,
        "bravo",
        "mv /usr/lib/python3/dist-packages/cryptography /root/cryptography",
        "mv /root/cryptography /usr/lib/python3/dist-packages/cryptography",
        ("bravo failed earlier in this run",),
        "Its error is shown above",
    ),
)
