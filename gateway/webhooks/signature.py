"""The signature by which a receiver knows that a message is the gateway's.

Source: Standard Webhooks, "Signature scheme": HMAC-SHA256 over id, time and body with
full stops between them, under a secret that is base64 behind ``whsec_``.
"""

import hmac
import secrets
from base64 import b64decode, b64encode
from hashlib import sha256

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def draw_secret() -> str:
    """Return a new secret."""
    return _PREFIX + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def headers(secret: str, number: str, sent_s: int, body: bytes) -> dict[str, str]:
    """Return the headers that sign a message.

    Args:
        secret: As `draw_secret` made it.
        number: Names the message; the same each time it is sent.
        sent_s: When it is sent, s since 1970 UTC.
        body: All of it.
    """
    key = b64decode(secret.removeprefix(_PREFIX))
    signed = hmac.digest(key, f"{number}.{sent_s}.".encode() + body, sha256)
    return {
        "webhook-id": number,
        "webhook-timestamp": str(sent_s),
        "webhook-signature": f"v1,{b64encode(signed).decode()}",
    }
