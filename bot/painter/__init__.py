"""Old name of bot.txt2img, kept for running jobs; to be removed in the next release."""
