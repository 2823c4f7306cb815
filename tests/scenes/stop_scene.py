"""A stop lets requests in flight end, and no longer than its deadline."""
