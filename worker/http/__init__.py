"""What HTTP_PORT answers."""
