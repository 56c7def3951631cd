"""The queue: order for each station, turns among them, and no room for a flood."""

from collections import deque
from threading import Thread

from gateway.intake.queue import FairQueue
from tests.gateway.stations import eventually


def filled(room: int, **counts: int) -> FairQueue[str, int]:
    """Return a queue in which stations have put numbers from 0 on, one by one."""
    queue = FairQueue[str, int](room)
    for number in range(max(counts.values())):
        for station, count in counts.items():
            if number < count:
                assert queue.put(station, number)
    return queue


def test_stations_take_turns_and_each_keeps_its_order() -> None:
    """Decoding and the store see a station's batches as it sent them."""
    queue = filled(200, flood=9, a=1, b=3)

    taken = queue.take(64, 0)

    assert [station for station, _ in taken[:3]] == ["flood", "a", "b"]
    for station, count in (("flood", 9), ("a", 1), ("b", 3)):
        found = [number for whose, number in taken if whose == station]
        assert found == list(range(count))
    assert len(queue) == 0


def test_a_group_holds_of_a_flood_no_more_than_its_part() -> None:
    """Else those who come behind it wait for a long commit."""
    queue = filled(200, flood=40, a=1, b=1, c=1)

    taken = queue.take(16, 0)

    assert [station for station, _ in taken].count("flood") == 16 // 4
    assert len(queue) == 43 - len(taken)
    assert queue.take(16, 0)[0] == ("flood", 4)


def test_a_station_alone_has_the_whole_group() -> None:
    """A backlog is worked off as fast as the store goes."""
    assert len(filled(200, a=40).take(16, 0)) == 16


def test_what_was_had_already_counts() -> None:
    """Messages that were opened ahead are a part of the group they wait for."""
    queue = filled(200, flood=20, a=2)

    taken = queue.take(16, 0, {"flood": 8})

    assert [station for station, _ in taken] == ["a", "a"]


def test_beyond_its_share_a_station_is_refused_once_half_the_room_is_taken() -> None:
    """Others still find room, for the broker sends no more than there is."""
    queue = FairQueue[str, int](100)

    added = [queue.put("flood", number) for number in range(200)]

    assert added == [True] * 50 + [False] * 150
    assert all(queue.put("other", number) for number in range(25))
    assert not queue.put("other", 25)
    assert queue.refused() == {"flood": 150, "other": 1}
    assert not queue.refused()
    assert [number for _, number in queue.take(200, 0, {})][:1] == [0]


def test_many_with_little_are_made_to_wait_and_not_refused() -> None:
    """Where all send too much the broker holds back; nobody's batch is put off."""
    queue = filled(20, **{f"station-{at}": 1 for at in range(20)})
    putting = Thread(target=queue.put, args=("another", 7))
    putting.start()
    assert len(queue) == 20
    assert putting.is_alive()

    queue.take(20, 0)

    putting.join(5)
    assert queue.take(20, 1) == [("another", 7)]


def test_closing_wakes_who_waits() -> None:
    """A gateway that is told to stop while its store is down must end."""
    queue = filled(20, **{f"station-{at}": 1 for at in range(20)})
    added: list[bool] = []
    putting = Thread(target=lambda: added.append(queue.put("another", 7)))
    putting.start()

    queue.close()

    putting.join(5)
    assert added == [False]
    assert not queue.refused()


def test_an_empty_queue_gives_nothing_in_time() -> None:
    queue = FairQueue[str, int](10)
    taken: list[object] = []
    waiting = Thread(target=lambda: taken.extend(queue.take(5, 30)))
    waiting.start()

    queue.put("a", 1)

    waiting.join(5)
    assert taken == [("a", 1)]
    assert queue.take(5, 0) == []
    assert queue.oldest_s() == 0


def test_tells_how_long_the_oldest_waits() -> None:
    queue = filled(10, a=1)

    assert eventually(lambda: queue.oldest_s() > 0.01)


def p95_ms(flood: int) -> float:
    """Return how long 95 of 100 messages of 20 steady stations take at most.

    Each sends one every 200 ms through a broker that has at most 200 on their way, to
    a store that takes 2 ms for a commit and 1.5 ms for each message in it: about 600
    messages/s. One more station sends ``flood`` times as often.
    """
    coming = [
        (200.0 * at + 10 * whose, f"s{whose}")
        for at in range(50)
        for whose in range(20)
    ]
    coming += [(200.0 * at / flood, "flood") for at in range(50 * flood)]
    coming.sort(reverse=True)
    queue, broker = FairQueue[str, float](201), deque[tuple[float, str]]()
    now_ms, unacknowledged, delays_ms = 0.0, 0, []
    while coming or broker or len(queue):
        while coming and coming[-1][0] <= now_ms:
            broker.append(coming.pop())
        while broker and unacknowledged < 200:
            since_ms, whose = broker.popleft()
            unacknowledged += queue.put(whose, since_ms)
        group = queue.take(64, 0)
        if not group:
            now_ms = coming[-1][0]
            continue
        now_ms += 2 + 1.5 * len(group)
        unacknowledged -= len(group)
        delays_ms += [
            now_ms - since_ms for whose, since_ms in group if whose != "flood"
        ]
    assert len(delays_ms) == 50 * 20
    return sorted(delays_ms)[len(delays_ms) * 95 // 100]


def test_a_flood_of_a_hundred_times_the_rate_costs_others_less_than_twice() -> None:
    """In line they would wait for hundreds of messages that nobody needs."""
    calm_ms = p95_ms(flood=1)

    assert p95_ms(flood=100) < 2 * calm_ms
    assert p95_ms(flood=1_000) < 2 * calm_ms
