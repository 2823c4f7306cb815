"""Many clients at once lose no request."""
