"""The PromQL of golden signals, evaluated by a real Prometheus over a history whose signals are known."""

import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.telemetry import GoldenSignal
from domain.time import Deadline
from telemetry_clients.errors import TelemetryBadQuery
from telemetry_clients.prometheus import golden_signals, promql
from telemetry_clients.prometheus.request_metrics import Form, RequestMetric
from tests.telemetry_clients.prometheus_server import PrometheusServer, running_prometheus

SCRAPE_INTERVAL_SECONDS = 15
MINUTES = 20
OTEL = "http_server_request_duration_seconds"
CLASSIC = "http_request_duration_seconds"
START = datetime.fromtimestamp(time.time() // 60 * 60, UTC) - timedelta(hours=3)
END = START + timedelta(minutes=MINUTES)

NASTY_NAMES = [
    'a"} or {x="',
    'a"} or vector(1) or {x="',
    "back\\slash",
    "ends with backslash\\",
    "new\nline",
    "carriage\rreturn",
    "tab\tbell\x07escape\x1bnull\x00",
    "`backticks` and 'quotes'",
    "{{template}} $1 ${name} %s %d",
    "a|b",
    "a.b",
    "axb",
    "a",
    "b",
    ".*",
    "[a-z]+(?i)^$",
    "\\u0041\\n",
    "# comment",
    "naïve 服务 🛒",
    "right\u202eto left",
    "\ufffd",
    " ",
]


class History:
    """Counters that grow by the same amount between any two scrapes, as OpenMetrics text."""

    def __init__(self) -> None:
        self._families: dict[str, list[str]] = {}

    def counter(self, metric: str, *, growth: float, scrapes: Iterable[int] | None = None, **labels: str) -> None:
        """`scrapes` are those that saw the series: all of them, unless said otherwise."""
        text = ",".join(f'{name}="{_openmetrics(value)}"' for name, value in labels.items())
        for scrape in scrapes if scrapes is not None else range(MINUTES * 60 // SCRAPE_INTERVAL_SECONDS + 1):
            at = START.timestamp() + scrape * SCRAPE_INTERVAL_SECONDS
            self._families.setdefault(metric, []).append(f"{metric}{{{text}}} {growth * scrape} {at}")

    def gauge(self, metric: str, *, value: float, **labels: str) -> None:
        text = ",".join(f'{name}="{_openmetrics(label)}"' for name, label in labels.items())
        for scrape in range(MINUTES * 60 // SCRAPE_INTERVAL_SECONDS + 1):
            at = START.timestamp() + scrape * SCRAPE_INTERVAL_SECONDS
            self._families.setdefault(metric, []).append(f"{metric}{{{text}}} {value} {at}")

    def histogram(self, metric: str, *, growth: dict[str, float], **labels: str) -> None:
        """`growth` of each cumulative bucket, `+Inf` among them."""
        for bound, bucket_growth in growth.items():
            self.counter(f"{metric}_bucket", growth=bucket_growth, le=bound, **labels)
        self.counter(f"{metric}_count", growth=growth["+Inf"], **labels)

    def __str__(self) -> str:
        return "\n".join(line for lines in self._families.values() for line in lines) + "\n# EOF\n"


def _openmetrics(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def other_conventions(history: History) -> None:
    # What OpenTelemetry said before, in milliseconds; gRPC, whose codes are words; and spans of requests and others.
    older = {"service": "older", "http_status_code": "200"}
    history.histogram("http_server_duration_milliseconds", growth={"100": 0, "200": 20, "+Inf": 20}, **older)
    history.histogram(
        "http_server_duration_milliseconds", growth=dict.fromkeys(("100", "200", "+Inf"), 0), service="older"
    )
    for code, growth in (("OK", 60), ("NotFound", 20), ("Unavailable", 15), ("Internal", 5)):
        history.counter("grpc_server_handled_total", growth=growth, service="grpc", grpc_code=code)
    for code, growth in (("0", 60), ("5", 20), ("14", 20)):
        buckets = {"10": growth, "+Inf": growth}
        history.histogram("rpc_server_duration_milliseconds", growth=buckets, service="rpc", rpc_grpc_status_code=code)
    for family, label in (("traces_spanmetrics", "service"), ("traces_span_metrics", "service_name")):
        for kind, status, growth in (("SERVER", "UNSET", 60), ("SERVER", "ERROR", 20), ("CLIENT", "ERROR", 500)):
            spans = {label: family, "span_kind": f"SPAN_KIND_{kind}", "status_code": f"STATUS_CODE_{status}"}
            history.counter(f"{family}_calls_total", growth=growth, **spans)
    spans = {"service": "traces_spanmetrics", "span_kind": "SPAN_KIND_SERVER", "status_code": "STATUS_CODE_UNSET"}
    history.histogram("traces_spanmetrics_latency", growth={"1": 0, "2": 60, "+Inf": 60}, **spans)

    for name, service_bytes in (("a", 60), ("b", 90)):
        container = {"service": "checkout", "pod": name}
        history.gauge("container_memory_working_set_bytes", value=service_bytes, **container)
        history.gauge("container_spec_memory_limit_bytes", value=100, **container)
    history.gauge("container_spec_memory_limit_bytes", value=0, service="unlimited")
    history.gauge("container_memory_working_set_bytes", value=90, service="unlimited")
    for pool, used in (("eden", 20), ("old", 50)):
        heap = {"service": "jvm", "area": "heap", "id": pool, "instance": "1"}
        history.gauge("jvm_memory_used_bytes", value=used, **heap)
        history.gauge("jvm_memory_max_bytes", value=100, **heap)


def known_history() -> History:
    history = History()
    per_second = SCRAPE_INTERVAL_SECONDS

    # Two instances: the slow one has a tenth failed, the quick one is three times busier.
    slow = {"0.1": 30, "0.5": 72, "1": 90, "+Inf": 90}
    quick = {"0.1": 300, "0.5": 300, "1": 300, "+Inf": 300}
    checkout = {"service": "checkout", "http_request_method": "GET", "http_route": "/"}
    history.histogram(OTEL, growth=slow, **checkout, instance="slow", http_response_status_code="200")
    history.histogram(
        OTEL, growth=dict.fromkeys(slow, 10), **checkout, instance="slow", http_response_status_code="503"
    )
    history.histogram(OTEL, growth=quick, **checkout, instance="quick", http_response_status_code="200")
    # The same requests counted a second time under another name.
    history.counter("http_requests_total", growth=400, service="checkout", status="200")

    for label in ("status", "code", "status_code", "http_response_status_code"):
        for status, growth in (("200", 60), ("404", 20), ("500", 15), ("503", 5)):
            history.counter("http_requests_total", growth=growth, service=f"by {label}", **{label: status})
    history.counter("http_requests_total", growth=3, service="twice told", status="500", code="500")
    history.counter("http_requests_total", growth=9, service="twice told", status="200", code="200")
    history.counter("http_requests_total", growth=7, service="grouped", status="2xx")
    history.counter("http_requests_total", growth=3, service="grouped", status="5xx")

    classic = {"service": "classic", "method": "GET"}
    history.histogram(CLASSIC, growth={"0.1": 10, "0.2": 20, "+Inf": 20}, **classic, code="200")
    history.histogram(CLASSIC, growth={"0.1": 0, "0.2": 20, "+Inf": 20}, **classic, code="500")

    history.counter("http_requests_total", growth=10, service="healthy", status="200")
    history.counter("http_requests_total", growth=10, service="healthy", status="404")
    history.counter("http_requests_total", growth=10, service="no status", method="GET")
    history.histogram(OTEL, growth=dict.fromkeys(("0.1", "+Inf"), 0), service="idle", http_response_status_code="200")
    every_other = range(0, MINUTES * 4 + 1, 2)
    history.counter("http_requests_total", growth=15, scrapes=every_other, service="gappy", status="200")

    other_conventions(history)
    history.counter("process_cpu_seconds_total", growth=0.25 * per_second, service="checkout", instance="slow")
    history.counter("process_cpu_seconds_total", growth=0.75 * per_second, service="checkout", instance="quick")
    for index, name in enumerate(NASTY_NAMES, start=1):
        history.counter("http_requests_total", growth=index * per_second, service=name, status="200")
    for namespace, growth in (("blue", 15), ("green", 30)):
        history.counter("http_requests_total", growth=growth, job="api", namespace=namespace, status="200")
    return history


@pytest.fixture(scope="module")
async def prometheus(tmp_path_factory) -> AsyncIterator[PrometheusServer]:
    folder = tmp_path_factory.mktemp("known-history")
    async with running_prometheus(folder, history=str(known_history())) as server:
        yield server


async def evaluate(
    prometheus: PrometheusServer, signal: GoldenSignal, selector: golden_signals.Selector, *, step_seconds: float = 60
) -> list[tuple[dict[str, str], list[float | None]]]:
    """The labels and values of each series, over the history's second half."""
    window_seconds = golden_signals.rate_window_seconds(step_seconds, SCRAPE_INTERVAL_SECONDS)
    result = await prometheus.client.query_range(
        golden_signals.expression(signal, selector, window_seconds=window_seconds),
        start=START + (END - START) / 2,
        end=END,
        step_seconds=step_seconds,
        deadline=Deadline.after(10),
    )
    return [(dict(series.labels), [point.value for point in series.points]) for series in result.series]


async def value_of(prometheus: PrometheusServer, signal: GoldenSignal, service: str) -> float | None:
    """The one value that the service's signal has all the time."""
    [(labels, values)] = await evaluate(prometheus, signal, {"service": service})
    assert labels == {"service": service}
    assert len(values) == MINUTES / 2 + 1
    assert values == pytest.approx([values[0]] * len(values))
    return values[0]


@pytest.mark.parametrize(
    ("signal", "value"),
    [
        (GoldenSignal.REQUEST_RATE, 400 / 15),
        (GoldenSignal.ERROR_RATIO, 10 / 400),
        # 340 of 400 take up to 0.1 s, 382 up to 0.5 s, 400 up to 1 s.
        (GoldenSignal.LATENCY_P50, 0.1 * 200 / 340),
        (GoldenSignal.LATENCY_P95, 0.1 + 0.4 * (380 - 340) / 42),
        (GoldenSignal.LATENCY_P99, 0.5 + 0.5 * (396 - 382) / 18),
        # The busiest process uses 0.75 of a core, and the fullest container 90 of 100 bytes.
        (GoldenSignal.SATURATION, 0.9),
    ],
)
async def test_signals_are_those_of_the_service_as_a_whole_not_means_over_its_instances(prometheus, signal, value):
    assert await value_of(prometheus, signal, "checkout") == pytest.approx(value)


@pytest.mark.parametrize("label", ["status", "code", "status_code", "http_response_status_code"])
async def test_failures_are_found_under_each_usual_status_label(prometheus, label):
    assert await value_of(prometheus, GoldenSignal.ERROR_RATIO, f"by {label}") == pytest.approx(0.2)
    assert await value_of(prometheus, GoldenSignal.REQUEST_RATE, f"by {label}") == pytest.approx(100 / 15)


@pytest.mark.parametrize(("service", "ratio"), [("twice told", 0.25), ("grouped", 0.3), ("classic", 0.5)])
async def test_failures_are_counted_once_however_statuses_are_told(prometheus, service, ratio):
    assert await value_of(prometheus, GoldenSignal.ERROR_RATIO, service) == pytest.approx(ratio)


async def test_a_classic_histogram_of_requests_gives_rate_and_latency(prometheus):
    assert await value_of(prometheus, GoldenSignal.REQUEST_RATE, "classic") == pytest.approx(40 / 15)
    assert await value_of(prometheus, GoldenSignal.LATENCY_P50, "classic") == pytest.approx(0.1 + 0.1 * 10 / 30)


async def test_a_service_with_traffic_and_no_failed_request_has_the_error_ratio_0(prometheus):
    assert await value_of(prometheus, GoldenSignal.ERROR_RATIO, "healthy") == 0


async def test_a_service_that_tells_no_status_has_no_error_ratio(prometheus):
    assert await evaluate(prometheus, GoldenSignal.ERROR_RATIO, {"service": "no status"}) == []
    assert await value_of(prometheus, GoldenSignal.REQUEST_RATE, "no status") == pytest.approx(10 / 15)


@pytest.mark.parametrize("signal", [GoldenSignal.ERROR_RATIO, GoldenSignal.LATENCY_P95])
async def test_without_traffic_the_value_is_null_neither_good_nor_bad(prometheus, signal):
    [(_, values)] = await evaluate(prometheus, signal, {"service": "idle"})
    assert set(values) == {None}


async def test_durations_in_milliseconds_are_told_in_seconds(prometheus):
    assert await value_of(prometheus, GoldenSignal.LATENCY_P50, "older") == pytest.approx(0.15)
    assert await value_of(prometheus, GoldenSignal.ERROR_RATIO, "older") == 0


@pytest.mark.parametrize(("service", "rate"), [("grpc", 100 / 15), ("rpc", 100 / 15)])
async def test_remote_procedure_calls_fail_by_the_codes_that_are_the_server_s_fault(prometheus, service, rate):
    assert await value_of(prometheus, GoldenSignal.REQUEST_RATE, service) == pytest.approx(rate)
    assert await value_of(prometheus, GoldenSignal.ERROR_RATIO, service) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("family", "label"), [("traces_spanmetrics", "service"), ("traces_span_metrics", "service_name")]
)
async def test_of_spans_only_those_that_serve_requests_count(prometheus, family, label):
    for signal, value in ((GoldenSignal.REQUEST_RATE, 80 / 15), (GoldenSignal.ERROR_RATIO, 0.25)):
        [(_, values)] = await evaluate(prometheus, signal, {label: family})
        assert values == pytest.approx([value] * len(values))


async def test_spans_have_latencies(prometheus):
    assert await value_of(prometheus, GoldenSignal.LATENCY_P50, "traces_spanmetrics") == pytest.approx(1.5)


async def test_memory_without_a_limit_is_never_full_and_pools_of_one_heap_are_summed(prometheus):
    assert await evaluate(prometheus, GoldenSignal.SATURATION, {"service": "unlimited"}) == []
    assert await value_of(prometheus, GoldenSignal.SATURATION, "jvm") == pytest.approx(0.35)


async def test_a_service_that_nobody_scrapes_has_no_series(prometheus):
    for signal in GoldenSignal:
        assert await evaluate(prometheus, signal, {"service": "nobody"}) == []


async def test_the_rate_survives_the_loss_of_every_other_scrape(prometheus):
    [(_, values)] = await evaluate(prometheus, GoldenSignal.REQUEST_RATE, {"service": "gappy"}, step_seconds=7)
    assert len(values) == MINUTES / 2 * 60 // 7 + 1
    assert values == pytest.approx([1.0] * len(values))


@pytest.mark.parametrize("name", NASTY_NAMES)
async def test_a_nasty_name_selects_its_own_service_and_nothing_else(prometheus, name):
    rate = NASTY_NAMES.index(name) + 1
    assert await value_of(prometheus, GoldenSignal.REQUEST_RATE, name) == pytest.approx(rate)


@pytest.mark.parametrize("signal", GoldenSignal)
@pytest.mark.parametrize("name", NASTY_NAMES)
async def test_every_signal_of_a_nasty_name_is_valid_and_about_that_service(prometheus, signal, name):
    for labels, _ in await evaluate(prometheus, signal, {"service": name}):
        assert labels == {"service": name}


async def test_many_services_are_asked_at_once_and_told_apart(prometheus):
    found = await evaluate(prometheus, GoldenSignal.REQUEST_RATE, {"service": NASTY_NAMES[::2]})
    assert {labels["service"]: values[0] for labels, values in found} == {
        name: pytest.approx(rate) for rate, name in enumerate(NASTY_NAMES, start=1) if name in NASTY_NAMES[::2]
    }
    ratios = await evaluate(prometheus, GoldenSignal.ERROR_RATIO, {"service": ["checkout", "healthy", "classic"]})
    assert {labels["service"]: values[0] for labels, values in ratios} == {
        "checkout": pytest.approx(10 / 400),
        "healthy": 0,
        "classic": pytest.approx(0.5),
    }


async def test_a_selector_of_several_labels_needs_all_of_them(prometheus):
    found = await evaluate(prometheus, GoldenSignal.REQUEST_RATE, {"namespace": "blue", "job": "api"})
    assert [(labels, values[0]) for labels, values in found] == [
        ({"job": "api", "namespace": "blue"}, pytest.approx(1.0))
    ]


@settings(deadline=None, max_examples=50)
@given(values=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=20))
async def test_prometheus_reads_every_quoted_text_back_as_it_was(prometheus, values):
    """`label_replace` sets a label to a literal; `$$` is how a replacement writes a dollar."""
    for value in values:
        if value:  # an empty label is no label
            literal = promql.quoted(value.replace("$", "$$"))
            result = await prometheus.client.query(
                f'label_replace(vector(1), "text", {literal}, "", "")', deadline=Deadline.after(10)
            )
            assert result.series[0].labels == {"text": value}


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ({}, "would match every service"),
        ({"service": ""}, "empty value"),
        ({"service": []}, "empty value"),
        ({"service": ["a", ""]}, "empty value"),
        ({"service": "\ud800"}, "lone surrogate"),
        ({'service="a"} or {x': "b"}, "is not a label name"),
        ({"": "b"}, "is not a label name"),
        ({"service\n": "b"}, "is not a label name"),
        ({"le": "0.5"}, "cannot use le"),
        ({"__name__": "up"}, "cannot use __name__"),
    ],
)
def test_a_selector_that_would_select_something_else_is_refused(selector, words):
    with pytest.raises(TelemetryBadQuery) as raised:
        golden_signals.expression(GoldenSignal.REQUEST_RATE, selector, window_seconds=60)
    assert words in raised.value.message


def test_other_names_can_be_given_for_the_metrics():
    metric = RequestMetric("shop_requests_total", False, {"outcome": "failed"})
    sources = golden_signals.Sources((golden_signals.Source(metric, Form.COUNTER, ("outcome",)),))
    assert (
        golden_signals.expression(GoldenSignal.REQUEST_RATE, {"app": "shop"}, window_seconds=0.5, sources=sources)
        == 'sum by (app) (rate(shop_requests_total{app="shop"}[500ms]))'
    )
    with pytest.raises(TelemetryBadQuery, match="No metric is known that tells the LATENCY_P95"):
        golden_signals.expression(GoldenSignal.LATENCY_P95, {"app": "shop"}, window_seconds=60, sources=sources)


def test_a_given_expression_gets_the_selector_and_the_window():
    template = "sum(rate(errors{$selector,kind='x$$'}[$window]))"
    assert golden_signals.overridden(template, {"app": 'a"b', "env": "live"}, window_seconds=60) == (
        'sum(rate(errors{app="a\\"b",env="live",kind=\'x$\'}[60s]))'
    )
    for wrong in ("sum($what)", "sum(x{$selector}) $"):
        with pytest.raises(TelemetryBadQuery, match=r"neither \$selector nor \$window"):
            golden_signals.overridden(wrong, {"app": "shop"}, window_seconds=60)


@pytest.mark.parametrize(
    ("step_seconds", "scrape_interval_seconds", "window_seconds"),
    [(1, 15, 60), (45, 15, 60), (60, 15, 75), (3600, 15, 3615), (1, 1, 4), (15, 60, 240)],
)
def test_the_window_spans_four_scrapes_and_more_than_the_step(step_seconds, scrape_interval_seconds, window_seconds):
    assert golden_signals.rate_window_seconds(step_seconds, scrape_interval_seconds) == window_seconds


def test_signals_have_units():
    assert {signal.value: signal.unit for signal in GoldenSignal} == {
        "REQUEST_RATE": "1/s",
        "ERROR_RATIO": "1",
        "LATENCY_P50": "s",
        "LATENCY_P95": "s",
        "LATENCY_P99": "s",
        "SATURATION": "1",
    }
