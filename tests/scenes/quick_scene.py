"""What a newcomer types first works."""
