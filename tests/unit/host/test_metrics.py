from __future__ import annotations

from peerstack.errors import DialError, PeerIdMismatch
from peerstack.host.metrics import HostMetrics, PluginMetrics, Sample, error_label


def test_counters_add_gauges_keep_the_last_and_distributions_count_and_sum() -> None:
    metrics = HostMetrics()
    metrics.count("calls_total", dir="in")
    metrics.count("calls_total", 2, dir="in")
    metrics.gauge("open", 5)
    metrics.gauge("open", 3)
    metrics.observe("seconds", 0.5)
    metrics.observe("seconds", 1.5)
    assert metrics.snapshot() == [
        Sample(name="calls_total", kind="counter", labels={"dir": "in"}, value=3),
        Sample(name="open", kind="gauge", labels={}, value=3),
        Sample(name="seconds", kind="distribution", labels={}, value=2.0, count=2),
    ]
    assert metrics.value("calls_total", dir="in") == 3
    assert metrics.value("calls_total", dir="out") == 0


def test_the_order_of_labels_does_not_matter() -> None:
    metrics = HostMetrics()
    metrics.count("calls_total", a="1", b="2")
    metrics.count("calls_total", b="2", a="1")
    assert metrics.value("calls_total", b="2", a="1") == 2


def test_series_are_bounded_and_what_is_dropped_is_counted() -> None:
    metrics = HostMetrics()
    for number in range(1000):
        metrics.count("calls_total", peer=str(number))
    assert len(metrics.snapshot()) == 256
    assert metrics.dropped == 1000 - 256
    metrics.count("calls_total", peer="0")
    assert metrics.value("calls_total", peer="0") == 2


def test_a_name_keeps_its_kind() -> None:
    metrics = HostMetrics()
    metrics.count("calls_total")
    metrics.gauge("calls_total", 7)
    assert metrics.value("calls_total") == 1
    assert metrics.dropped == 1


def test_a_plugins_names_carry_its_own() -> None:
    metrics = HostMetrics()
    plugin = PluginMetrics(metrics, "my-dht")
    plugin.count("lookups", dir="in")
    plugin.count("stores_total")
    plugin.gauge("peers", 4)
    plugin.observe("rtt_seconds", 0.1)
    assert [sample.name for sample in metrics.snapshot()] == [
        "peerstack_my_dht_lookups_total",
        "peerstack_my_dht_peers",
        "peerstack_my_dht_rtt_seconds",
        "peerstack_my_dht_stores_total",
    ]


def test_an_error_is_labelled_by_its_stable_code() -> None:
    assert error_label(DialError("no")) == "unreachable"
    assert error_label(PeerIdMismatch("a", "b")) == "identity_mismatch"
    assert error_label(OSError()) == "OSError"
