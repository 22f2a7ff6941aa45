"""Keep models loaded between runs: a resident process per device, and its client.

The first run starts the worker; a later one finds the model in memory. The worker outlives runs,
jobs and the bot, and exits when it is idle.
"""
