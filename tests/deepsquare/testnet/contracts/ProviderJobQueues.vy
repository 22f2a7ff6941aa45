# pragma version ^0.4.3
"""What waits for each provider's supervisor: jobs to take, to cancel, to prolong. Owner's only."""

owner: public(address)
# provider -> kind (0 new, 1 cancelling, 2 top-up) -> position -> job
entries: HashMap[address, HashMap[uint256, HashMap[uint256, bytes32]]]
first: HashMap[address, HashMap[uint256, uint256]]
last: HashMap[address, HashMap[uint256, uint256]]

@deploy
def __init__():
    self.owner = msg.sender

@external
def give(owner: address):
    self._only_owner()
    self.owner = owner

@external
def push(provider: address, kind: uint256, jobId: bytes32):
    self._only_owner()
    self.entries[provider][kind][self.last[provider][kind]] = jobId
    self.last[provider][kind] += 1

@external
def pop(provider: address, kind: uint256) -> bytes32:
    self._only_owner()
    position: uint256 = self.first[provider][kind]
    if position == self.last[provider][kind]:
        raw_revert(method_id("NoJob()"))
    self.first[provider][kind] = position + 1
    return self.entries[provider][kind][position]

@internal
def _only_owner():
    assert msg.sender == self.owner, "Ownable: caller is not the owner"
