"""Who dies when: origins and clients that leave in the middle of something."""
