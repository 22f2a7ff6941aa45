"""The emulator's gateway: websocket sessions and events."""
