"""What must survive a crash: SQLite, and the only SQL in the house. Knows bot.domain only."""
