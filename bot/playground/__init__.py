"""A server that plays Discord on loopback: REST, gateway, file host and a web page to chat in.

It knows Discord's wire protocol and nothing of the bot: the bot meets it as it meets Discord, over
HTTP and a websocket. ``make play`` puts a person in front of it, the tests put a driver there.
"""
