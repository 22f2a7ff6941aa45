"""Emulate Discord on loopback: REST API, gateway, file host and a web page to chat in.

The bot connects to it as to Discord, over HTTP and a websocket. ``make play`` opens the page; tests
act as members through ``client.driver``. The package imports nothing else of the project.
"""
