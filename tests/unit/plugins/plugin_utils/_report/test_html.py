# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the page holds; what a browser makes of it is tested in tests/browser."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from clustered_mesh import with_clusters

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import PendingUpdate
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import FAULT, NOT_CHECKED, NOTE, Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.html import DOCUMENTS
from ansible_collections.esync.mesh.plugins.plugin_utils._report.html import text as document
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import ReportServer

NOW = "2026-11-23T19:00:00Z"
ROOT = Path(__file__).resolve().parents[5]


def mesh(names=("a", "b", "c"), decide=None, ends=None, pending=()):
    servers = [ReportServer(name, f"{name}.example", 8732, "ok", (ends or {}).get(name)) for name in names]
    results = {
        source: [{"to": target, "verdict": "ok", **((decide or calm)(source, target))} for target in names]
        for source in names
    }
    return assemble(servers, results, "temporary", pending)


def calm(source, target):
    return {"handshake_ms": 3.5, "tls": "TLSv1.3", "server_fingerprint": target * 9, "client_fingerprint": source * 9}


def refusing(source, target):
    detail = f"{target} ({target}.example:8732) refused {source}."
    return {**calm(source, target), "verdict": "failed", "cause": "tls_failed", "detail": detail, "remedy": "Look."}


class Page(HTMLParser):
    """The elements of a page, the texts of its scripts and styles, and the cells of its tables."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.texts = {}
        self.rows = []
        self.inside = ""
        self.cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside = tag if tag == "style" or "type" not in dict(attrs) else "data"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.inside = ""
        if tag in ("td", "th"):
            self.cell = False

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside] = self.texts.get(self.inside, "") + data
        elif self.cell:
            self.rows[-1][-1] += data


def test_the_policy_allows_its_own_script_and_style_and_nothing_else():
    page = Page(document(mesh(), NOW))
    (policy,) = [attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv")]
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.texts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "base-uri 'none'; form-action 'none'" in policy


def test_nothing_is_loaded_from_anywhere():
    text = document(mesh(decide=refusing), NOW)
    page = Page(text)
    for tag, attrs in page.elements:
        assert tag not in ("link", "img", "iframe", "base", "object", "embed"), tag
        assert not {"src", "action", "srcset", "data", "poster", "style"} & set(attrs), attrs
        assert not [name for name in attrs if name.startswith("on")], attrs
        # A link leads somewhere only when somebody follows it.
        assert attrs.get("href", "#").startswith("#") or tag == "a"
    others = {url for url in re.findall(r"https?://[^\s\"']+", text) if not url.startswith(DOCUMENTS)}
    assert others == {"http://www.w3.org/2000/svg"}
    assert "url(" not in text
    assert "@import" not in text
    assert "innerHTML" not in text


@pytest.mark.parametrize("cause", CAUSES)
def test_a_cause_links_to_what_the_documents_say_of_it(cause):
    def decide(source, target):
        return {**refusing(source, target), "cause": cause}

    page = Page(document(mesh(decide=decide), NOW))
    links = {attrs["href"] for tag, attrs in page.elements if tag == "a"}
    assert links == {f"{DOCUMENTS}diagnosis.md#{cause}"}
    assert f"## `{cause}`\n" in (ROOT / "docs" / "diagnosis.md").read_text()
    assert {attrs["rel"] for tag, attrs in page.elements if tag == "a"} == {"noopener noreferrer"}


def test_the_links_lead_to_the_documents_of_the_collection():
    galaxy = (ROOT / "galaxy.yml").read_text()
    assert f"documentation: {DOCUMENTS.rstrip('/').replace('/blob/', '/tree/')}\n" in galaxy


def test_a_command_is_that_of_this_run():
    def decide(source, target):
        remedy = CAUSES["endpoint_not_listening"].remedy
        return {**refusing(source, target), "cause": "endpoint_not_listening", "remedy": remedy}

    text = document(dataclasses.replace(mesh(decide=decide), options="-i 'my hosts.yml'", name="esync of <b>"), NOW)
    assert "ansible-playbook -i &#x27;my hosts.yml&#x27; esync.mesh.repair</bdi></code><button" in text
    assert "<bdi>esync of &lt;b&gt;</bdi>" in text


def test_the_timeline_has_a_column_for_each_part_of_the_time_and_marks_what_is_near():
    ends = {"a": "2026-11-20T19:00:00Z", "b": "2026-12-01T19:00:00Z", "c": "2027-11-20T19:00:00Z"}
    text = document(mesh(ends=ends), NOW)
    figure = text.partition('<figure id="timeline">')[2].partition("</figure>")[0]
    assert re.findall(r'<rect class="(past|soon|later)".*?<title>(.*?)</title>', figure) == [
        ("past", "a: 2026-11-20"),
        ("soon", "b: 2026-12-01"),
        ("later", "c: 2027-11-20"),
    ]
    assert 'aria-label="Certificates end from 2026-11-20 to 2027-11-20; 2 of 3 servers within 31 days"' in figure
    many = mesh([f"s{number:04}" for number in range(1000)], ends={f"s{number:04}": NOW for number in range(1000)})
    assert document(many, NOW).count("<rect class=") < 70
    # One of a thousand is seen, too.
    lonely = mesh(
        [f"s{number:04}" for number in range(1000)],
        ends={f"s{number:04}": ends["c" if number else "b"] for number in range(1000)},
    )
    assert min(map(float, re.findall(r'width=".8" height="([0-9.]+)"', document(lonely, NOW)))) >= 3
    assert "<figure" not in document(mesh(), NOW)


def test_large_numbers_have_one_form():
    names = [f"s{number:02}" for number in range(40)]
    text = document(mesh(names), NOW)
    assert "<h1>1,560 of 1,560 pairs ok.</h1>" in text
    assert "<title>1,560 of 1,560" in text


HOSTILE = "</script><!--<script>&amp;\u2028\u2029\ud800'\"{{ 1 }}"


def test_the_data_cannot_leave_their_element():
    def decide(source, target):
        return {**refusing(source, target), "detail": HOSTILE, "cause": HOSTILE, "remedy": HOSTILE}

    text = document(mesh((HOSTILE, "b"), decide, pending=[PendingUpdate(HOSTILE, "trust", (), HOSTILE)]), NOW)
    raw = text.partition('id="data">')[2].partition("</script>")[0]
    assert raw.isascii()
    assert not set("<>&") & set(raw)
    data = json.loads(raw)
    assert data["names"] == [HOSTILE, "b"]
    assert text.count("</script>") == 2
    assert "<!--" not in text
    text.encode("utf-8")


@pytest.mark.parametrize("decide", [calm, refusing])
def test_two_hundred_servers_fit_in_half_a_megabyte(decide):
    text = document(mesh([f"server-{number:03}" for number in range(200)], decide), NOW)
    assert len(text) < 500_000


def test_equal_texts_stand_once():
    data = json.loads(document(mesh("abcdefgh", refusing), NOW).partition('id="data">')[2].partition("</script>")[0])
    details = [text for text in data["strings"] if "refused" in text]
    assert details == ["\x02 (\x03:8732) refused \x01."]
    assert len(data["records"]) == 1
    assert sum(data["records"][0][8]) == 8 * 8 - 2, "the last place is the pair h -> g"


def test_a_name_within_a_word_is_left_alone():
    def decide(source, target):
        return {**refusing(source, target), "detail": f"The web-{source} said that {source}.example is no {source}b."}

    data = json.loads(document(mesh("ab", decide), NOW).partition('id="data">')[2].partition("</script>")[0])
    assert "The web-a said that a.example is no ab." in data["strings"]


ENDS = {
    "far": ("2027-11-23T19:00:00Z", "2027-11-23 in 365 days", None),
    "past": ("2026-11-20T19:00:00Z", "2026-11-20 expired 3 days ago", "late past"),
    "minutes": ("2026-11-23T18:50:00Z", "2026-11-23 expired today", "late past"),
    "today": ("2026-11-24T18:00:00Z", "2026-11-24 today", "late"),
    "tomorrow": ("2026-11-24T19:00:00Z", "2026-11-24 in 1 day", "late"),
    "month": ("2026-12-24T18:00:00Z", "2026-12-24 in 30 days", "late"),
    "beyond": ("2026-12-24T19:00:00Z", "2026-12-24 in 31 days", None),
    "unknown": (None, "not known", None),
}


def test_servers_are_listed_by_the_end_of_their_certificates():
    page = Page(document(mesh(list(ENDS), ends={name: end for name, (end, _text, _kind) in ENDS.items()}), NOW))
    rows = {row[0]: row[2] for row in page.rows if row[0] in ENDS}
    assert list(rows) == ["past", "minutes", "today", "tomorrow", "month", "beyond", "far", "unknown"]
    assert rows == {name: text for name, (_end, text, _kind) in ENDS.items()}
    kinds = [attrs["class"] for tag, attrs in page.elements if tag == "span" and "late" in attrs.get("class", "")]
    assert kinds == [kind for name in rows for kind in [ENDS[name][2]] if kind]


def test_the_counts_of_a_server_are_those_of_its_pairs():
    def decide(source, target):
        return refusing(source, target) if target == "b" else calm(source, target)

    rows = {row[0]: row[-2:] for row in Page(document(mesh("abc", decide), NOW)).rows if row[0] in "abc"}
    assert rows == {"a": ["1 of 2", "2 of 2"], "b": ["2 of 2", "0 of 2"], "c": ["1 of 2", "2 of 2"]}


def test_equal_pending_updates_share_a_row():
    pending = [
        PendingUpdate("a", "trust", (), "news"),
        PendingUpdate("b", "trust", (), "news"),
        PendingUpdate("c", "trust", (), "else"),
    ]
    rows = Page(document(mesh(pending=pending), NOW)).rows
    assert ["a, b", "news"] in rows
    assert ["c", "else"] in rows


@pytest.mark.parametrize(("decide", "kind"), [(calm, "ok"), (refusing, "failed")])
def test_the_verdict_comes_first(decide, kind):
    text = document(mesh(decide=decide), NOW)
    assert f'<header class="{kind}">' in text
    assert ("6 of 6 pairs ok." if kind == "ok" else "0 of 6 pairs ok, 6 failed.") in text.partition("</h1>")[0]


def test_a_limited_run_is_neither_good_nor_bad():
    servers = [ReportServer(name, name, 1, "not_in_run" if name == "c" else "ok") for name in "abc"]
    results = {"a": [{"to": "b", "verdict": "ok"}], "b": [{"to": "a", "verdict": "ok"}]}
    assert '<header class="part">' in document(assemble(servers, results, "temporary"), NOW)
    nothing = document(assemble(servers, {"a": [], "b": []}, "temporary"), NOW)
    assert '<header class="failed">' in nothing
    assert "Nothing was proved: 0 of 6 pairs were tested." in nothing


def ill(server, kind="expired", severity=FAULT, path=None):
    return Problem(server, kind, severity, path, "They have expired", "They ended.", "Renew.")


def with_problems(*problems):
    servers = [ReportServer(name, "x", 1, "ok") for name in "abc"]
    results = {source: [{"to": target, "verdict": "ok"} for target in "abc"] for source in "abc"}
    return assemble(servers, results, "temporary", problems=problems)


def test_problems_stand_with_the_servers_and_in_the_rows_of_theirs():
    problems = [
        ill("b", path="/etc/esync/b.key"),
        ill("b", "no_permission", NOT_CHECKED),
        ill("c", "key_differs", NOTE),
    ]
    text = document(with_problems(*problems), NOW)
    section = text.partition('id="servers"')[2]
    assert section.count("<li class=") == 3
    assert section.index("<li class=") < section.index("<table>")
    for part in ("/etc/esync/b.key", "They have expired", "They ended.", "Renew."):
        assert part in section
    rows = {row[0]: row[4] for row in Page(text).rows if row[0] in "abc" and len(row) == 7}
    assert rows == {"a": "", "b": "expiredno_permission", "c": "key_differs"}
    assert '<header class="part">' in text
    assert "with problems" in text.partition("<main>")[0]


def test_without_problems_there_is_no_word_of_them():
    assert "problems" not in document(with_problems(), NOW).partition("<main>")[2].partition("<script")[0]
    assert '<header class="ok">' in document(with_problems(ill("a", severity=NOTE)), NOW)


def test_the_same_on_many_servers_is_one_card_that_stays_short():
    servers = [ReportServer(f"s{number}", "x", 1, "ok") for number in range(40)]
    mesh = assemble(servers, {}, "temporary", problems=[ill(server.name) for server in servers])
    section = document(mesh, NOW).partition('id="servers"')[2].partition("<table>")[0]
    assert section.count("<li class=") == 1
    assert section.count("They ended.") == 8
    assert "and 32 more" in section


def test_hostile_problems_stay_text():
    text = document(with_problems(Problem("a", HOSTILE, FAULT, HOSTILE, HOSTILE, HOSTILE, HOSTILE)), NOW)
    assert text.count("</script>") == 2
    assert "<!--" not in text
    text.encode("utf-8")


def test_a_server_that_accepted_whom_it_must_refuse_is_a_card_unless_a_pair_tells_it():
    servers = [ReportServer(name, "x", 1, "ok") for name in "ab"]
    tried = {"a": [{"to": "b", "present": "none", "verdict": "failed", "cause": "not_refused", "remedy": "Shut."}]}
    ok = {"b": [{"to": "a", "verdict": "ok"}]}
    text = document(assemble(servers, ok, "temporary", refusals=tried), NOW)
    assert '<header class="failed">' in text
    assert (
        "It accepted a, which presented no certificate." in text.partition('id="causes"')[2].partition("</section>")[0]
    )
    failed = {**ok, "a": [{"to": "b", "verdict": "failed", "cause": "not_refused"}]}
    text = document(assemble(servers, failed, "temporary", refusals=tried), NOW)
    assert text.partition('id="causes"')[2].partition("</section>")[0].count("<li>") == 1


def test_the_sites_of_a_server_stand_in_one_cell_each_with_its_own_result():
    servers = [
        ReportServer("a", "a.example", 1, "ok"),
        ReportServer("b", "b.example", 1, "ok", sites=("shop", "<news>")),
    ]
    good = {"to": "b", "site": "shop", "verdict": "ok", **calm("a", "b")}
    bad = {"to": "b", "site": "<news>", **refusing("a", "b")}
    results = {"a": [good, bad], "b": [{"to": "a", "verdict": "ok", **calm("b", "a")}]}
    text = document(assemble(servers, results, "nginx"), NOW)
    page = Page(text)
    data = json.loads(page.texts["data"])
    assert data["codes"] == ["-x", "+-"]
    assert [len(times) for times in data["times"]] == [1, 1]
    read = [
        (place, data["strings"][site], code, data["strings"][cause])
        for place, site, code, _ms, cause, *_rest in data["sites"]
    ]
    assert read == [(1, "shop", "+", ""), (1, "<news>", "x", "tls_failed")]
    rows = {row[0]: row[-2:] for row in page.rows if row}
    assert rows["a"] == ["1 of 2", "1 of 1"]
    assert rows["b shop, <news>"] == ["1 of 1", "1 of 2"]
    assert "b [&lt;news&gt;]" in text


def test_what_handing_over_costs_stands_in_the_page():
    text = document(dataclasses.replace(mesh(), trust_model="shared_keys"), NOW)
    assert ("p", {"class": "cost"}) in Page(text).elements
    assert "can pose as any other" in text
    assert "can pose as any other" not in document(mesh(), NOW)


def test_clusters_and_what_is_wrong_with_them():
    text = document(with_clusters(), NOW)
    rows = [row for row in Page(text).rows if row and row[0] in ("web", "solo")]
    assert rows == [
        ["web", "[::1]:8732", "b", "", "", "0 of 2"],
        ["solo", "lb:9000", "c", "c 2", "", "1 of 2"],
    ]
    assert "<code><bdi>not_tls</bdi></code>" in text and "&lt;Seen&gt;." in text and "Repair it." in text
    assert '<header class="failed">' in text
    assert "calls to clusters not ok</dt><dd>2</dd>" in text
    assert 'id="clusters"' not in document(mesh(), NOW)
