"""JSON in the very bytes in which the API server writes it. Pure."""

from typing import Any, Final

import msgspec

_ESCAPES: Final = {each.encode(): f"\\u{ord(each):04x}".encode() for each in "<>&\u2028\u2029"}
"""What Go's encoder escapes beside what JSON wants escaped; outside of texts, JSON has none of them."""


def encoded(document: Any) -> bytes:
    """*document* as Go would encode it.

    The data of a ControllerRevision is stored as it was sent and may never change, yet each later patch of
    the object has the server encode it anew: other bytes, such as a plain ``>``, would count as a change.
    """
    text = msgspec.json.encode(document)
    for plain, escaped in _ESCAPES.items():
        text = text.replace(plain, escaped)
    return text
