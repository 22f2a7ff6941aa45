"""Old name of bot.txt2img, for jobs that are running; goes with the next release."""
