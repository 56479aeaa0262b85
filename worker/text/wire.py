"""What is said to others, as bytes: what cannot be written is found before anybody is dialled."""

import json

from worker.errors import BadMessage


def encoded(body: object) -> bytes:
    """JSON as every gateway reads it (RFC 8259). Raises BadMessage for what it cannot hold, such as infinity."""
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError) as fault:
        said = "half a character" if isinstance(fault, UnicodeError) else str(fault)
        raise BadMessage(f"It holds a value that cannot be sent: {said[:100]}. Change or remove it.") from None
