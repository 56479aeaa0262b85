"""The daemon behind the table `scheduled_messages`."""

__version__ = "0.1.0"
