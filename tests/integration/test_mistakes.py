# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What administrators do by mistake, or in good faith, with the settings' defaults."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

STRICT = {"ANSIBLE_INVENTORY_UNPARSED_FAILED": "1", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1"}


def inventory(mesh: Any, folder: Path, *names: str, ini: bool = False) -> Path:
    """An inventory in a folder of its own, with the default ledger and reports."""
    folder.mkdir()
    group = json.loads((mesh.root / "hosts.json").read_text())["esync"]
    ours = ("esync_ledger", "esync_report_directory")
    variables = {key: value for key, value in group["vars"].items() if key not in ours}
    hosts = {name: group["hosts"][name] for name in names}
    if not ini:
        (folder / "hosts.json").write_text(json.dumps({"esync": {"vars": variables, "hosts": hosts}}))
        return folder
    lines = [f"{name} " + " ".join(f"{key}={value}" for key, value in own.items()) for name, own in hosts.items()]
    variables["esync_formats"] = "cer, pfx"
    lines += ["[esync:vars]", *(f"{key}={value}" for key, value in variables.items())]
    (folder / "hosts").write_text("\n".join(["[esync]", *lines, ""]))
    return folder


def played(mesh: Any, playbook: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a playbook with inventories that the arguments name."""
    command = [one for one in mesh.command(playbook) if one not in ("-i", str(mesh.root / "hosts.json"))]
    done = subprocess.run(
        [*command, *arguments],
        cwd=mesh.root,
        env={**mesh.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_folder_as_inventory_never_gets_our_files_for_hosts(make_mesh: Any) -> None:
    mesh = make_mesh("a", "b")
    prod = inventory(mesh, mesh.root / "prod", "a", "b")
    for playbook in ("establish", "verify"):
        code, output = played(mesh, playbook, "-i", str(prod), **STRICT)
        assert code == 0 and "2 of 2 pairs ok" in output, output
        assert "Unable to parse" not in output and "not a valid group" not in output
    assert sorted(path.name for path in prod.iterdir()) == [".esync-ledger", ".esync-report", "hosts.json"]
    # What an earlier version made is used on, and its name is told.
    (prod / ".esync-ledger").rename(prod / "esync-ledger")
    code, output = played(mesh, "verify", "-i", str(prod / "hosts.json"))
    assert code == 0 and "2 of 2 pairs ok" in output
    assert f"mv {prod}/esync-ledger {prod}/.esync-ledger" in " ".join(output.split())
    assert not (prod / ".esync-ledger").exists()


def test_two_inventories_have_one_ledger_or_are_refused_with_both(make_mesh: Any) -> None:
    mesh = make_mesh("a", "b", "c", "d")
    sources = []
    for name, hosts in (("eu", "ab"), ("us", "cd")):
        sources += ["-i", str(inventory(mesh, mesh.root / name, *hosts))]
    code, output = played(mesh, "establish", *sources)
    text = " ".join(output.split())
    assert code != 0 and f"{mesh.root}/eu/.esync-ledger" in text and f"{mesh.root}/us/.esync-ledger" in text
    assert list((mesh.root / "hosts").iterdir()) == []
    one = f"-e esync_ledger={mesh.root}/eu/.esync-ledger"
    assert one in text
    code, output = played(mesh, "establish", *sources, *one.split(), "-e", f"esync_report_directory={mesh.root}/report")
    assert code == 0 and "12 of 12 pairs ok" in output, output
    assert not (mesh.root / "us" / ".esync-ledger").exists()


def test_text_with_commas_is_a_list_also_in_an_ini_inventory(make_mesh: Any) -> None:
    mesh = make_mesh("a", "b")
    mesh.host_settings["a"] = {"esync_subject_alt_names": "one.example,two.example"}
    mesh.write()
    source = inventory(mesh, mesh.root / "ini", "a", "b", ini=True)
    code, output = played(mesh, "establish", "-i", str(source))
    assert code == 0 and "2 of 2 pairs ok" in output, output
    said = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", str(mesh.current("a") / "server.crt")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "DNS:one.example, DNS:two.example" in said
    assert {path.suffix for path in mesh.current("a").resolve().iterdir()} >= {".cer", ".pfx"}
