# pragma version ^0.4.3
"""Who offers machines, at what prices, and whom the operator of the Grid has admitted."""

import records

event ProviderWaitingForApproval:
    addr: address

admin: public(address)
waiting: HashMap[address, bool]
known: HashMap[address, bool]
order: DynArray[address, 64]
providers: HashMap[address, records.Provider]
jobCounts: HashMap[address, uint64]

@deploy
def __init__():
    self.admin = msg.sender

@external
def register(
    hardware: records.ProviderHardware,
    prices: records.ProviderPrices,
    labels: DynArray[records.Label, records.MOST_LABELS],
):
    self.providers[msg.sender] = records.Provider(
        addr=msg.sender,
        providerHardware=hardware,
        providerPrices=prices,
        labels=labels,
        isBanned=self.providers[msg.sender].isBanned,
    )
    self.waiting[msg.sender] = True
    if not self.known[msg.sender]:
        self.known[msg.sender] = True
        self.order.append(msg.sender)
    log ProviderWaitingForApproval(addr=msg.sender)

@external
def approve(provider: address):
    self._only_admin()
    if not self.waiting[provider]:
        raw_revert(method_id("WaitingApprovalOnly()"))
    self.waiting[provider] = False

@external
def ban(provider: address):
    self._only_admin()
    self._check_known(provider)
    self.providers[provider].isBanned = True

@external
def unban(provider: address):
    self._only_admin()
    self._check_known(provider)
    self.providers[provider].isBanned = False

@view
@external
def getProvider(provider: address) -> records.Provider:
    self._check_known(provider)
    return self.providers[provider]

@view
@external
def getProviderPrices(provider: address) -> records.ProviderPrices:
    self._check_known(provider)
    return self.providers[provider].providerPrices

@view
@external
def getProviderHardware(provider: address) -> records.ProviderHardware:
    self._check_known(provider)
    return self.providers[provider].providerHardware

@view
@external
def getLabels(provider: address) -> DynArray[records.Label, records.MOST_LABELS]:
    self._check_known(provider)
    return self.providers[provider].labels

@view
@external
def isValidForScheduling(provider: address) -> bool:
    return (
        self.known[provider]
        and not self.waiting[provider]
        and not self.providers[provider].isBanned
    )

@view
@external
def isWaitingForApproval(provider: address) -> bool:
    return self.waiting[provider]

@view
@external
def isBanned(provider: address) -> bool:
    return self.providers[provider].isBanned

@view
@external
def getJobCount(provider: address) -> uint64:
    return self.jobCounts[provider]

@view
@external
def head() -> uint256:
    return 0

@view
@external
def elementCount() -> uint256:
    return len(self.order)

@view
@external
def fetchPage(cursor: uint256, howMany: uint256) -> (DynArray[bytes32, 64], uint256, uint256):
    if cursor > len(self.order):
        raw_revert(method_id("OutOfBounds()"))
    stop: uint256 = min(cursor + howMany, len(self.order))
    page: DynArray[bytes32, 64] = []
    for position: uint256 in range(cursor, stop, bound=64):
        page.append(convert(self.order[position], bytes32))
    return page, stop - cursor, stop

@internal
def _only_admin():
    assert msg.sender == self.admin, "AccessControl: account is missing role"

@view
@internal
def _check_known(provider: address):
    if not self.known[provider]:
        raw_revert(method_id("NoProvider()"))
