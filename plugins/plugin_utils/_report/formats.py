import json

from ansible_collections.esync.mesh.plugins.plugin_utils._report import html, junit, prometheus
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import to_json

REPORTS = {
    "mesh.json": lambda mesh, now, _before: json.dumps(to_json(mesh, now), indent=1, ensure_ascii=False) + "\n",
    "mesh.html": lambda mesh, now, _before: html.document(mesh, now),
    "mesh.xml": lambda mesh, now, _before: junit.document(mesh, now),
    "mesh.prom": prometheus.text,
}
