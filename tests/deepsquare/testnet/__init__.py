"""A small DeepSquare of one's own, on loopback: what the backend meets, made of real parts.

A real EVM node with contracts of the same ABI, a gRPC logger that verifies signatures, a GraphQL
endpoint with the schema's rules, a file host, and a provider that runs the submitted steps with
bash. ``tests.deepsquare.testnet.site`` puts them together. Nothing here imports the backend: what
both sides know is written down twice, so that one side's mistake does not hide in the other.
"""
