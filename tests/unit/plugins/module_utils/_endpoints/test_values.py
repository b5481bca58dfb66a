# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from endpoint_hosts import settings, site

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, EsyncErrors
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.values import check_values

HOSTILE = ['a"b', "a'b", "a;b", "a{b", "a}b", "a\nb", "a\rb", "a\x00b", "a\x7fb", "a b", "a\\b", "a#b", "a\x85b"]
SETTINGS = {
    "directory": ("esync_directory", "/"),
    "configuration": ("esync_endpoint_configuration", "/etc/nginx/"),
    "access_log": ("esync_endpoint_access_log", "/var/log/"),
    "upstream": ("esync_endpoint_upstream", "http://"),
}


def refused(**changes):
    with pytest.raises(EsyncError) as caught:
        check_values(settings(**{"directory": "/etc/esync", "port": 8732, **changes}))
    assert caught.value.kind == "bad_setting"
    return caught.value


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", SETTINGS)
def test_what_could_mean_something_in_a_configuration_is_refused(name, value):
    setting, start = SETTINGS[name]
    error = refused(**{name: start + value})
    assert error.remedy == f"Correct {setting}"
    assert repr(start + value) in str(error)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name, start", [("root", "/srv/"), ("upstream", "http://"), ("server_name", "")])
def test_and_likewise_of_a_site(name, start, value):
    error = refused(sites=(site("shop", 8732, **{name: start + value}),))
    assert error.remedy == "Correct esync_endpoint_sites"
    assert f"the site 'shop': its {name}" in str(error)


@pytest.mark.parametrize(
    "changes, setting",
    [
        ({"name": "a b"}, "esync_server_name"),
        ({"port": 0}, "esync_port"),
        ({"port": 65536}, "esync_port"),
        ({"directory": "etc/esync"}, "esync_directory"),
        ({"directory": "/etc/$host"}, "esync_directory"),
        ({"configuration": "esync.conf"}, "esync_endpoint_configuration"),
        ({"access_log": ""}, "esync_endpoint_access_log"),
        ({"upstream": "127.0.0.1:8080"}, "esync_endpoint_upstream"),
        ({"upstream": "ftp://127.0.0.1"}, "esync_endpoint_upstream"),
        ({"upstream": "http://"}, "esync_endpoint_upstream"),
        ({"sites": (site("a;b", 1),)}, "esync_endpoint_sites"),
        ({"sites": (site("shop", 0),)}, "esync_endpoint_sites"),
        ({"sites": (site("shop", 1, server_name="10.0.0.1"),)}, "esync_endpoint_sites"),
        ({"sites": (site("shop", 1, server_name=""),)}, "esync_endpoint_sites"),
        ({"sites": (site("shop", 1, root="srv"),)}, "esync_endpoint_sites"),
        ({"sites": (site("shop", 1, upstream="x"),)}, "esync_endpoint_sites"),
    ],
)
def test_the_setting_is_named(changes, setting):
    assert refused(**changes).remedy == f"Correct {setting}"


def test_private_keys_are_never_handed_out(tmp_path):
    ours = tmp_path / "esync"
    ours.mkdir()
    (tmp_path / "link").symlink_to(ours)
    for root in (tmp_path, ours, ours / "current", tmp_path / "link", "/"):
        error = refused(directory=str(ours), sites=(site("shop", 1, root=str(root)),))
        assert "private keys could be read there" in str(error)
    check_values(settings(ours, 1, sites=(site("shop", 1, root=str(tmp_path / "esync-content")),)))


def test_everything_is_told_at_once():
    error = refused(port=0, upstream="x")
    assert isinstance(error, EsyncErrors)
    assert [one.remedy for one in error.errors] == ["Correct esync_port", "Correct esync_endpoint_upstream"]


def test_what_is_in_order_is_accepted():
    sites = (
        site("shop", 8732, server_name="shop.example", root="/srv/www/shop@2"),
        site("news", 65535, upstream="https://[::1]:8080/news/"),
        site("old", 1),
    )
    check_values(settings("/etc/esync", 8732, sites=sites, upstream="http://unix:/run/app.sock:/"))
    check_values(settings("/etc/esync", 8732, access_log="syslog:server=unix:/dev/log,tag=esync"))
