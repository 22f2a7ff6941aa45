"""Pure domain rules: no clock, no randomness, no I/O, no await."""
