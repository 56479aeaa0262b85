"""The ways of sending, each a file here and a row in worker/kinds.py; docs/adding-a-gateway.md tells how to add one.

`routing` finds the one that a connection goes through. `base` says what it must do, and `posting` does most of that for
those that take one POST for a message: `client` is the wire, `words` what error texts prove. `meta`, `numbers` and
`session_tokens` are parts of one or two of them; `approved` lists the Cloud API's templates. This is the room's door:
others name no module in it.
"""

from worker.gateway.approved import ApprovedTemplates, read_by
from worker.gateway.base import Gateway, Queue
from worker.gateway.routing import Gateways, build, sender_of

__all__ = ["ApprovedTemplates", "Gateway", "Gateways", "Queue", "build", "read_by", "sender_of"]
