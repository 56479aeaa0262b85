"""What writes messages of its own accord: campaigns. All of it only writes rows of `scheduled_messages`."""
