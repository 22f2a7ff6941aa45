"""The bot under a seeded mixture of kills, outages, locks and full disks."""
