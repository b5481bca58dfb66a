# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find out what each product does with the certificates of a mesh, and write it into docs/services.md: make services.

Servers are containers with systemd and sshd on this machine. On each runs another product, from Debian's packages; two
more call them all, and one of those is removed at the end. It needs root, the packages in
molecule/shared/packages.txt, and a Debian mirror for the image. Containers and network are removed at the end.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import costs
from costs import ROOT, write_inventory
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from ssh import SUITE, control_folder, hosts, lab, note, reached_by_ssh, remove_when_interrupted

# No Molecule scenario has this network.
NETWORK = "10.123.61"
PACKAGES = ["haproxy", "postgresql", "redis-server", "stunnel4"]
PAGE = ROOT / "docs" / "services.md"
BEGIN, END = "<!-- Made by `make services`. -->\n", "<!-- Until here. -->\n"
CLIENT, STOP = "/usr/local/bin/service_client.py", "/run/service-client.stop"
MESH = Path("/etc/esync")
# How long a product may take to take up what it was told to.
PATIENCE = 5.0
ECHO = """\
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(("127.0.0.1", 8080), Echo).serve_forever()
"""
POSTGRESQL = """\
listen_addresses = '*'
port = 8732
ssl = on
ssl_cert_file = '/etc/esync/services/postgresql/server.crt'
ssl_key_file = '/etc/esync/services/postgresql/server.key'
ssl_ca_file = '/etc/esync/services/postgresql/clients.pem'
"""
PREPARE_POSTGRESQL = """\
systemctl start postgresql
for role in caller withdrawn; do
  setpriv --reuid=postgres --regid=postgres --clear-groups psql -qc "create role $role login"
done
systemctl stop postgresql
cat > /etc/postgresql/15/main/conf.d/esync.conf
echo 'hostssl all all 10.0.0.0/8 cert' >> /etc/postgresql/15/main/pg_hba.conf
"""
REDIS = """\
bind 0.0.0.0
port 6379
tls-port 8732
tls-cert-file /etc/esync/services/redis/server.crt
tls-key-file /etc/esync/services/redis/server.key
tls-ca-cert-file /etc/esync/services/redis/clients.pem
tls-auth-clients yes
tls-session-caching no
protected-mode no
"""
RELOAD_REDIS = """\
files=/etc/esync/services/redis
redis-cli -e config set tls-cert-file $files/server.crt tls-key-file $files/server.key \\
  tls-ca-cert-file $files/clients.pem ||
  exec systemctl restart redis-server
"""


@dataclass(frozen=True)
class Product:
    """One product, on the host of its name.

    :param protocol: as service_client.py has it. :param reload: the command. :param unit: what is restarted.
    :param settings: of its host in the inventory. :param files: where it reads its own certificate and its trust.
    :param prepare: a script that is run on its host before. :param text: what that script reads.
    """

    name: str
    label: str
    package: str
    protocol: str
    reload: str
    unit: str
    settings: dict[str, Any]
    own: Path = MESH / "current"
    trust: Path = MESH / "trusted"
    prepare: str = ""
    text: str = ""


def attached(name: str, protocol: str, owner: str, reload: str) -> dict[str, Any]:
    """The settings of a host on which a service of its own is in the place of the endpoint."""
    service = {"name": name, "port": 8732, "protocol": protocol, "owner": owner, "reload": shlex.split(reload)}
    return {"esync_services": [service]}


COPIES = MESH / "services"
RELOAD_POSTGRESQL, RELOAD_REDIS_COMMAND = "systemctl reload-or-restart postgresql", "sh /usr/local/sbin/reload-redis"
PRODUCTS = (
    Product("nginx", "nginx", "nginx", "http", "systemctl reload nginx", "nginx", {"esync_endpoint": "nginx"}),
    Product("haproxy", "HAProxy", "haproxy", "http", "systemctl reload esync-haproxy", "esync-haproxy",
            {"esync_endpoint": "haproxy"}),
    Product("stunnel", "stunnel", "stunnel4", "echo", "systemctl reload esync-stunnel", "esync-stunnel",
            {"esync_endpoint": "stunnel", "esync_endpoint_upstream": "tcp://127.0.0.1:8080"},
            prepare="cat > /root/echo.py; systemd-run --quiet --unit=upstream python3 /root/echo.py", text=ECHO),
    Product("postgresql", "PostgreSQL", "postgresql-15", "postgresql", RELOAD_POSTGRESQL, "postgresql",
            attached("postgresql", "postgresql", "postgres", RELOAD_POSTGRESQL),
            COPIES / "postgresql", COPIES / "postgresql", PREPARE_POSTGRESQL, POSTGRESQL),
    Product("redis", "Redis", "redis-server", "redis", RELOAD_REDIS_COMMAND, "redis-server",
            attached("redis", "tls", "redis", RELOAD_REDIS_COMMAND), COPIES / "redis", COPIES / "redis",
            f"cat >> /etc/redis/redis.conf; printf %s {shlex.quote(RELOAD_REDIS)} > /usr/local/sbin/reload-redis; "
            "systemctl stop redis-server", REDIS),
)  # fmt: skip
CALLERS = ("caller", "withdrawn")
PLATFORMS = {
    name: {"name": name, "address": f"{NETWORK}.{11 + number}", "suite": SUITE, "packages": PACKAGES}
    for number, name in enumerate([*CALLERS, *(one.name for one in PRODUCTS)])
}


@dataclass
class Row:
    """What was found of one product."""

    certificate: str
    trust: str
    connections: str
    lets_in: list[str]
    rotation: str = ""
    withdrawal: str = ""


def main() -> int:
    if os.geteuid() != 0:
        raise SystemExit("root is needed to start the containers")
    remove_when_interrupted()
    with hosts(list(PLATFORMS.values())) as folder:
        inventory(folder)
        prepare()
        play(folder, "establish")
        made = make_strangers()
        rows = {}
        for product in PRODUCTS:
            rows[product.name] = examine(product, made)
            note(f"{product.label}: {rows[product.name]}")
        play(folder, "establish")
        rotate(folder, rows)
        withdraw(folder, rows)
        write(table(rows))
    return 0


def examine(product: Product, made: dict[str, tuple[str, str]]) -> Row:
    """All that needs no run of the mesh. What is changed on the host is put back.

    :param made: as :func:`make_strangers` returns it.
    """
    lets_in = [name for name in STRANGERS if answered(product, *stranger(name))]
    lets_in += ["plain"] if ask("caller", "plain", product, "-", "-")["answered"] else []
    pem, key = made["other"]
    own = {"server.crt": pem, "server.key": key}
    certificate_by = taken_up(product, product.own, own, lambda: serves(product, pem))
    # With the name of a trusted server, because some products look at that too.
    untrusted, _key = made["same_subject"]
    trusted = {"clients.pem": read(product.name, product.trust / "clients.pem") + untrusted}
    if product.trust == MESH / "trusted":
        digest = x509.load_pem_x509_certificate(untrusted.encode()).fingerprint(hashes.SHA1()).hex()
        trusted["clients.map"] = read(product.name, product.trust / "clients.map") + f'{digest} "caller";\n'
    trust_by = taken_up(product, product.trust, trusted, lambda: answered(product, *stranger("same_subject")))
    return Row(certificate_by, trust_by, survives(product), lets_in)


def taken_up(product: Product, folder: Path, files: dict[str, str], taken: Callable[[], bool]) -> str:
    """What it takes until a product uses other files: nothing, a reload or a restart."""
    paths = {str(folder / name): text for name, text in files.items()}
    for path, text in paths.items():
        on(product.name, f"cp -pL {path} {path}.before; cat > {path}", text)
    try:
        for how, command in (
            ("by itself", "true"),
            ("reload", product.reload),
            ("restart", f"systemctl restart {product.unit}"),
        ):
            on(product.name, command)
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                if taken():
                    return how
                time.sleep(0.2)
        return "nothing of this"
    finally:
        for path in paths:
            on(product.name, f"cat {path}.before > {path}; rm {path}.before")
        on(product.name, f"systemctl restart {product.unit}")
        own = read(product.name, product.own / "server.crt")
        lab.wait(lambda: serves(product, own), f"{product.label} with what it had before")


def serves(product: Product, pem: str) -> bool:
    """Whether a caller that is trusted is served this certificate."""
    found = ask("caller", "once", product, *CURRENT)
    return found["answered"] and found["served"].split() == pem.split()


def survives(product: Product) -> str:
    """Whether an open connection, which is used all the time, goes on after a reload."""
    on("caller", f"rm -f {STOP}")
    held = start("caller", "hold", product, *CURRENT)
    time.sleep(2)
    on(product.name, product.reload)
    time.sleep(3)
    on("caller", f"touch {STOP}")
    found = result_of(held)
    if found["answers"] < 5:
        raise SystemExit(f"{product.label}: no connection could be held: {found}")
    return "end" if found["ended"] else "go on"


def rotate(folder: Path, rows: dict[str, Row]) -> None:
    """Renew all certificates while each product is called all the time."""
    on("caller", f"rm -f {STOP}")
    running = {one.name: start("caller", "load", one, "-", "-") for one in PRODUCTS}
    play(folder, "regenerate")
    on("caller", f"touch {STOP}")
    for name, process in running.items():
        found = result_of(process)
        note(f"{name}: {found}")
        rows[name].rotation = f"{found['failed']} of {found['requests']}"


def withdraw(folder: Path, rows: dict[str, Row]) -> None:
    """Remove a server while it calls each product, over a connection that is open and over new ones."""
    on("withdrawn", f"rm -f {STOP}; cp -pL {MESH}/current/client.crt {MESH}/current/client.key /root")
    copied = ("/root/client.crt", "/root/client.key")
    running = {
        (one.name, mode): start("withdrawn", mode, one, *copied) for one in PRODUCTS for mode in ("hold", "knock")
    }
    time.sleep(3)
    begun = time.time()
    play(folder, "remove", "-e", "esync_remove=withdrawn")
    took = time.time() - begun
    time.sleep(5)
    on("withdrawn", f"touch {STOP}")
    for name, row in rows.items():
        seconds = []
        for mode in ("hold", "knock"):
            found = result_of(running[name, mode])
            note(f"{name}, {mode}: {found}")
            if not found["answers"]:
                raise SystemExit(f"{name} never answered the server that is removed: {found}")
            goes_on = mode == "hold" and not found["ended"]
            seconds.append("never" if goes_on else f"{found['last'] - begun:.1f} s")
        row.withdrawal = ", ".join(seconds)
    note(f"the removal took {took:.0f} s")


# -- what callers present -------------------------------------------------------------------------------------

CURRENT = (f"{MESH}/current/client.crt", f"{MESH}/current/client.key")
STRANGERS = ("none", "untrusted", "same_subject", "server", "issued_by_trusted")
"""What nobody may be let in with, besides speaking without TLS."""


def make_strangers() -> dict[str, tuple[str, str]]:
    """Put what nobody trusts onto the caller's host; returns certificates with keys. ``other`` is a server's."""
    client, server = (
        (read("caller", MESH / "current" / f"{role}.crt"), read("caller", MESH / "current" / f"{role}.key"))
        for role in ("client", "server")
    )
    made = {
        "untrusted": issued("stranger"),
        "same_subject": issued("caller"),
        "server": server,
        "issued_by_trusted": issued("caller", issuer=client),
        "other": issued("other", server=True),
    }
    on("caller", "mkdir -p /root/strangers")
    for name, (pem, key) in made.items():
        on("caller", f"cat > /root/strangers/{name}.crt", pem)
        on("caller", f"cat > /root/strangers/{name}.key", key)
    return made


def stranger(name: str) -> tuple[str, str]:
    return ("-", "-") if name == "none" else (f"/root/strangers/{name}.crt", f"/root/strangers/{name}.key")


def issued(subject: str, issuer: tuple[str, str] | None = None, server: bool = False) -> tuple[str, str]:
    """A certificate and its key. :param issuer: certificate and key of who signs it; by default its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    signer: Any = serialization.load_pem_private_key(issuer[1].encode(), None) if issuer else key
    by = x509.load_pem_x509_certificate(issuer[0].encode()).subject if issuer else name
    now = datetime.datetime.now(datetime.timezone.utc)
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem).decode(), text.decode()


# -- the hosts ------------------------------------------------------------------------------------------------


def inventory(folder: Path) -> None:
    own = {one.name: one.settings for one in PRODUCTS}
    variables = {
        **reached_by_ssh(folder),
        "ansible_connection": "ssh",
        "esync_formats": ["cer"],
        "esync_install_dependencies": False,
        # So that the time of a removal says something about the product.
        "esync_reload_batch": "100%",
        "esync_reload_jitter": 0,
    }
    listed = {name: {"ansible_host": one["address"], **own.get(name, {})} for name, one in PLATFORMS.items()}
    write_inventory(folder, variables, listed)


def prepare() -> None:
    """Make the hosts as their administrators would have them before."""
    for name in CALLERS:
        on(name, f"cat > {CLIENT}", (ROOT / "benchmarks" / "service_client.py").read_text(encoding="utf-8"))
    for product in PRODUCTS:
        on(product.name, f"set -e; {product.prepare or 'true'}", product.text)


def play(folder: Path, playbook: str, *options: str) -> None:
    """Run a playbook for all servers.

    :raises SystemExit: it failed.
    """
    note(playbook)
    environment = {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(control_folder(folder))}
    code, output = costs.play(folder, ROOT / "playbooks" / f"{playbook}.yml", *options, environment=environment)
    if code:
        raise SystemExit(f"{output}\n{playbook} ended with {code}")


def on(host: str, command: str, text: str = "") -> str:
    """Run a command on a host, and return its output.

    :raises SystemExit: it failed.
    """
    done = subprocess.run(
        ["podman", "exec", "-i", lab.container(PLATFORMS[host]), "sh", "-c", command],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{host}: {command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def read(host: str, path: Path) -> str:
    return on(host, f"cat {path}")


def start(host: str, mode: str, product: Product, pem: str, key: str) -> subprocess.Popen[str]:
    """Start a caller on a host."""
    address = str(PLATFORMS[product.name]["address"])
    command = ["podman", "exec", lab.container(PLATFORMS[host]), "python3", CLIENT]
    return subprocess.Popen(
        [*command, mode, product.protocol, address, pem, key],
        stdout=subprocess.PIPE,
        text=True,
    )


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _none = process.communicate(timeout=120)
    found: dict[str, Any] = json.loads(output)
    return found


def ask(host: str, mode: str, product: Product, pem: str, key: str) -> dict[str, Any]:
    return result_of(start(host, mode, product, pem, key))


def answered(product: Product, pem: str, key: str) -> bool:
    return bool(ask("caller", "once", product, pem, key)["answered"])


# -- the table ------------------------------------------------------------------------------------------------

HEADS = (
    "product",
    "takes up a certificate by",
    "takes up trust by",
    "open connections at a reload",
    "lets in of six strangers",
    "failed requests in a rotation",
    "last byte of a removed server: open connection, new ones",
)


def table(rows: dict[str, Row]) -> str:
    lines = [f"| {' | '.join(HEADS)} |", f"| {' | '.join('---' for _head in HEADS)} |"]
    for product in PRODUCTS:
        row = rows[product.name]
        shown = on(product.name, f"dpkg-query --show --showformat '${{Version}}' {product.package}")
        version = re.sub(r"^\d+:|[-+~].*", "", shown)
        cells = (
            f"{product.label} {version}",
            row.certificate,
            row.trust,
            row.connections,
            ", ".join(row.lets_in) or "none",
            row.rotation,
            row.withdrawal,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Measured on {datetime.date.today()} on Debian 12 with {os.cpu_count()} cores.", ""])


def write(text: str) -> None:
    """Put the table in the place of the former one."""
    page = PAGE.read_text(encoding="utf-8")
    head, found, rest = page.partition(BEGIN)
    _old, ended, tail = rest.partition(END)
    if not found or not ended:
        raise SystemExit(f"{PAGE} has no place for the table:\n{text}")
    PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
