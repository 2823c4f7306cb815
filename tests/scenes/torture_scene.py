"""Every fallible call fails once; the engine copes."""
