"""Every error that this package raises, in one tree. Each message tells its reader what to do."""


class WorkerError(Exception):
    """Base of everything below."""


class ConfigError(WorkerError):
    """The environment is incomplete or malformed; names every fault. The process exits with code 78."""


class BadMessage(WorkerError):
    """This row can never be sent as it stands. The text goes to the row's `error`, for its author."""


class BadPattern(BadMessage):
    """`recurrence_pattern` is neither a named pattern nor a rule that we accept."""


class BadTimezone(BadMessage):
    """The name is not in the IANA time zone database."""


class BadRecipient(BadMessage):
    """`contact_id` leads to no WhatsApp address."""


class StoreError(WorkerError):
    """Supabase did not answer, or not as it does when it is well; worth trying again, with nothing lost."""


class StoreMisconfigured(StoreError):
    """Grants or migrations are missing. Worth trying again too, but not before others have had their turn."""


class StoreAbsent(StoreMisconfigured):
    """The database's API knows no such function: it is not there, or was made a moment ago. Most calls wait for it."""


class StoreOverfull(StoreError):
    """A server before the database takes no request of this size. A part of it may pass."""


class StoreRefused(WorkerError):
    """The database says of what was asked, and of nothing else, that it cannot be: see `worker.store.faults`."""


# What Python raises where this machine lacks something, such as descriptors, memory or a file of a library.
LACKING = (OSError, MemoryError, ImportError)


class Shortage(WorkerError):
    """This machine lacks descriptors or memory: nothing was done, and it is tried again. Never a message's fault."""
