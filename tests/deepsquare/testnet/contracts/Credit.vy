# pragma version ^0.4.3
"""Credits: an ERC-20 token with OpenZeppelin 4's texts for what it refuses."""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256

name: public(constant(String[16])) = "Credit"
symbol: public(constant(String[8])) = "CRED"
decimals: public(constant(uint8)) = 18
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])

@deploy
def __init__(supply: uint256):
    self.totalSupply = supply
    self.balanceOf[msg.sender] = supply
    log Transfer(sender=empty(address), receiver=msg.sender, value=supply)

@external
def approve(spender: address, amount: uint256) -> bool:
    self._approve(msg.sender, spender, amount)
    return True

@external
def increaseAllowance(spender: address, added: uint256) -> bool:
    self._approve(msg.sender, spender, self.allowance[msg.sender][spender] + added)
    return True

@external
def decreaseAllowance(spender: address, removed: uint256) -> bool:
    current: uint256 = self.allowance[msg.sender][spender]
    assert current >= removed, "ERC20: decreased allowance below zero"
    self._approve(msg.sender, spender, current - removed)
    return True

@external
def transfer(to: address, amount: uint256) -> bool:
    self._move(msg.sender, to, amount)
    return True

@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    current: uint256 = self.allowance[owner][msg.sender]
    if current != max_value(uint256):
        assert current >= amount, "ERC20: insufficient allowance"
        self.allowance[owner][msg.sender] = current - amount
    self._move(owner, to, amount)
    return True

@internal
def _approve(owner: address, spender: address, amount: uint256):
    assert spender != empty(address), "ERC20: approve to the zero address"
    self.allowance[owner][spender] = amount
    log Approval(owner=owner, spender=spender, value=amount)

@internal
def _move(owner: address, to: address, amount: uint256):
    assert to != empty(address), "ERC20: transfer to the zero address"
    assert self.balanceOf[owner] >= amount, "ERC20: transfer amount exceeds balance"
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount
    log Transfer(sender=owner, receiver=to, value=amount)
