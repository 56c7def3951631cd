"""Messages on their way into the quarantine of a PostgreSQL store."""

from collections.abc import Mapping, Sequence
from operator import attrgetter

from gateway.store import Delivery, Refused
from gateway.store.postgres_database import Connection
from gateway.store.postgres_names import settle
from protocols.uplink.topics import Station

_SETTLING = 30299  # as of `settled` in migration 0007
_KEEP = """
    INSERT INTO quarantine AS q
        (topic, station, digest, reason, message, received_ms, last_received_ms)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (topic, digest) DO UPDATE SET
        deliveries = q.deliveries + 1,
        last_received_ms = greatest(q.last_received_ms, excluded.last_received_ms)
"""


def quarantine(
    connection: Connection,
    deliveries: Sequence[Delivery],
    stations: Mapping[Station, int],
) -> None:
    """Keep those that are refused, each once, in the transaction under way.

    Args:
        connection: In that transaction.
        deliveries: All of it.
        stations: The numbers of their stations.
    """
    refused = [one for one in deliveries if isinstance(one, Refused)]
    if refused:
        settle(connection, "quarantine", _SETTLING)
    for one in sorted(refused, key=attrgetter("topic", "digest")):
        station = None if one.station is None else stations[one.station]
        told = (one.topic, station, one.digest, one.reason, one.message)
        connection.execute(_KEEP, (*told, one.received_ms, one.received_ms))
