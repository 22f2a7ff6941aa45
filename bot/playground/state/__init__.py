"""What the emulated Discord knows: guilds, channels, messages, interactions."""
