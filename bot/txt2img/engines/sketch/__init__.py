"""Draw sketches from the words of a prompt, without a model.

Self-contained: no module here imports from elsewhere in the project, and only
:mod:`bot.txt2img.engines` imports it. The engine is complete and stops growing: fix faults, but add
no new scenes or subjects. Randomness comes from :class:`~.random_streams.RandomStreams`.
"""
