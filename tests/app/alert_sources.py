"""A real Prometheus with rules and a real Alertmanager that posts to a webhook, for tests."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from domain.time import Deadline
from telemetry_clients.alertmanager import Alertmanager
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.daemon import daemon

_ALERTMANAGER = """\
route:
  receiver: studio
  group_by: [service]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: studio
    webhook_configs:
      - url: {webhook}
        send_resolved: true
        http_config: {{authorization: {{credentials: {token}}}}}
"""
_PROMETHEUS = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
alerting:
  alertmanagers: [{{static_configs: [{{targets: ["{target}"]}}]}}]
"""
_RULE = """\
      - alert: {name}
        expr: vector({value}) > 0
        labels: {{service: {service}, severity: critical}}
        annotations: {{summary: "{service} fails one of ten requests"}}
"""
_LISTENING = r'msg="Listening on".* address=(\S+)'


@dataclass
class AlertSources:
    """Both servers. `alertmanager_url` and `prometheus_url` are for what is to be configured with them."""

    alertmanager_url: str
    alertmanager: Alertmanager
    prometheus_url: str
    _prometheus: Transport
    _folder: Path

    async def fire(self, services: Collection[str], *, of: Collection[str]) -> None:
        """Let the rules of these services fire, and those of all others of `of` not."""
        rules = [
            _RULE.format(name="HighErrorRatio", service=service, value=int(service in services))
            for service in sorted(of)
        ]
        text = "groups:\n  - name: studio\n    rules:\n" + "".join(rules)
        await asyncio.to_thread((self._folder / "rules.yml").write_text, text)
        answer = await self._prometheus.post("/-/reload", form={}, deadline=Deadline.after(10))
        assert answer.succeeded, answer.body


@asynccontextmanager
async def alert_sources(folder: Path, *, webhook: str, token: str) -> AsyncIterator[AlertSources]:
    """Start both in an empty folder, and stop them at the end. Skips the test where they are not installed."""
    (folder / "alertmanager.yml").write_text(_ALERTMANAGER.format(webhook=webhook, token=token))
    (folder / "rules.yml").write_text("groups: []\n")
    alertmanager = ("prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alertmanager")
    alertmanager += ("--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
    prometheus = ("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=prometheus")
    prometheus += ("--web.listen-address=127.0.0.1:0", "--web.enable-lifecycle", "--rules.alert.resend-delay=1s")
    async with daemon(alertmanager, folder, listening=_LISTENING, package="prometheus-alertmanager") as url:
        (folder / "prometheus.yml").write_text(_PROMETHEUS.format(target=url.removeprefix("http://")))
        async with (
            daemon(prometheus, folder, listening=_LISTENING, package="prometheus") as prometheus_url,
            Transport(Endpoint(backend="Alertmanager", url=url)) as to_alertmanager,
            Transport(Endpoint(backend="Prometheus", url=prometheus_url)) as to_prometheus,
        ):
            yield AlertSources(url, Alertmanager(to_alertmanager), prometheus_url, to_prometheus, folder)
