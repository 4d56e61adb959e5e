from __future__ import annotations

from peerstack.dht.replica.rtt import RoundTrips


def test_an_unknown_peer_gets_the_longest_timeout_and_little_patience() -> None:
    trips = RoundTrips()
    assert trips.rtt(1) is None
    assert trips.timeout(1) == 10.0
    assert trips.patience(1) == 1.0


def test_timeouts_follow_what_was_measured_within_their_bounds() -> None:
    trips = RoundTrips()
    for _ in range(50):
        trips.measured(1, 0.2)
        trips.measured(2, 0.001)
        trips.measured(3, 9.0)
    assert abs((trips.rtt(1) or 0) - 0.2) < 0.01
    assert 1.0 < trips.timeout(1) < 3.0
    assert trips.timeout(2) == 1.0
    assert trips.timeout(3) == 10.0
    assert trips.patience(2) == 0.05
    assert trips.patience(1) < trips.timeout(1)


def test_a_peer_whose_answers_vary_is_given_more_time() -> None:
    steady, varying = RoundTrips(), RoundTrips()
    for turn in range(100):
        steady.measured(1, 0.3)
        varying.measured(1, 0.1 if turn % 2 else 0.5)
    assert varying.patience(1) > steady.patience(1)


def test_a_networks_fixed_timeout_holds_for_everybody() -> None:
    trips = RoundTrips(1.0)
    trips.measured(1, 0.5)
    assert trips.timeout(1) == trips.timeout(2) == 1.0
    assert trips.patience(2) == 0.5


def test_only_so_many_peers_are_remembered() -> None:
    trips = RoundTrips()
    for key in range(5000):
        trips.measured(key, 0.1)
    assert trips.rtt(0) is None
    assert trips.rtt(4999) == 0.1
