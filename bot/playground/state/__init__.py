"""Hold the state of the emulated Discord: guild, channels, messages, interactions."""
