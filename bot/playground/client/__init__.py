"""What a member's Discord client does: commands, options, presses."""
