"""What the engine says about itself: logs, metrics, status, messages, exit codes."""
