"""What must survive a crash, in SQLite: the only SQL of the bot."""
