# pragma version ^0.4.3
"""
The Grid's market place: customers lock credits for a job, the meta-scheduler assigns it, its
provider takes it and says how it goes, and the end settles the bill in the same transaction.
A small contract of this project's own, with the ABI and the behaviour that clients can observe.
"""

import records

interface Token:
    def transfer(to: address, amount: uint256) -> bool: nonpayable
    def transferFrom(owner: address, to: address, amount: uint256) -> bool: nonpayable

interface Repository:
    def create(
        definition: records.JobDefinition,
        customer: address,
        maxCost: uint256,
        jobName: bytes32,
        delegateSpendingAuthority: bool,
    ) -> bytes32: nonpayable
    def save(state: records.State): nonpayable
    def state(_jobId: bytes32) -> records.State: view
    def definition(_jobId: bytes32) -> records.JobDefinition: view
    def costPerMinute(_jobId: bytes32, prices: records.ProviderPrices) -> uint256: view
    def checkTransition(before: uint8, after: uint8) -> bool: pure

interface Providers:
    def getProviderPrices(provider: address) -> records.ProviderPrices: view
    def isValidForScheduling(provider: address) -> bool: view

interface Queues:
    def push(provider: address, kind: uint256, jobId: bytes32): nonpayable
    def pop(provider: address, kind: uint256) -> bytes32: nonpayable

interface Rules:
    def minimumAmount() -> uint256: view
    def billDurationDeltaMinute() -> uint256: view
    def topUpSliceDurationMin() -> uint256: view
    def deepsquareCut() -> uint256: view

event NewJobRequestEvent:
    _jobId: bytes32
    _customerAddr: address

event ClaimJobEvent:
    customerAddr: address
    providerAddr: address
    jobId: bytes32
    maxDurationMinute: uint64
    jobDefinition: records.JobDefinition

event ClaimNextCancellingJobEvent:
    customerAddr: address
    providerAddr: address
    jobId: bytes32

event ClaimNextTopUpJobEvent:
    _jobId: bytes32
    _providerAddr: address
    maxDurationMinute: uint64

event JobRefusedEvent:
    _jobId: bytes32
    _providerAddr: address
    _customerAddr: address

event BilledTooMuchEvent:
    _jobId: bytes32
    _providerAddr: address
    _billingAmount: uint256

METASCHEDULER_ROLE: public(constant(bytes32)) = keccak256("METASCHEDULER_ROLE")

PENDING: constant(uint8) = 0
META_SCHEDULED: constant(uint8) = 1
SCHEDULED: constant(uint8) = 2
RUNNING: constant(uint8) = 3
CANCELLED: constant(uint8) = 4
PANICKED: constant(uint8) = 8

NEW: constant(uint256) = 0
CANCELLING: constant(uint256) = 1
TOP_UP: constant(uint256) = 2

credit: public(address)
jobs: public(address)
providerManager: public(address)
providerJobQueues: public(address)
constants: public(address)
enableRequestNewJob: public(bool)
admin: address
scheduler: address

@deploy
def __init__(
    credit: address,
    jobs: address,
    providerManager: address,
    providerJobQueues: address,
    constants: address,
    scheduler: address,
):
    self.credit = credit
    self.jobs = jobs
    self.providerManager = providerManager
    self.providerJobQueues = providerJobQueues
    self.constants = constants
    self.enableRequestNewJob = True
    self.admin = msg.sender
    self.scheduler = scheduler

# What customers call

@external
def requestNewJob(
    _definition: records.JobDefinition,
    _lockedCredits: uint256,
    _jobName: bytes32,
    _delegateSpendingAuthority: bool,
) -> bytes32:
    if _definition.storageType > 4:
        raw_revert(b"")
    if not self.enableRequestNewJob:
        raw_revert(method_id("NewJobRequestDisabled()"))
    minimum: uint256 = staticcall Rules(self.constants).minimumAmount()
    if _lockedCredits < minimum:
        raw_revert(
            abi_encode(
                _lockedCredits, minimum, method_id=method_id("InsufficientFunds(uint256,uint256)")
            )
        )
    if 0 in [_definition.ntasks, _definition.cpusPerTask, _definition.memPerCpu]:
        raw_revert(method_id("InvalidJobDefinition()"))
    jobId: bytes32 = extcall Repository(self.jobs).create(
        _definition, msg.sender, _lockedCredits, _jobName, _delegateSpendingAuthority
    )
    assert extcall Token(self.credit).transferFrom(msg.sender, self, _lockedCredits)
    log NewJobRequestEvent(_jobId=jobId, _customerAddr=msg.sender)
    return jobId

@external
def cancelJob(_jobId: bytes32):
    job: records.State = staticcall Repository(self.jobs).state(_jobId)
    self._only_customer(job)
    if job.status >= CANCELLED:
        raw_revert(abi_encode(job.status, method_id=method_id("JobHotStatusOnly(uint8)")))
    job.time.cancelRequestTimestamp = block.timestamp
    job.hasCancelRequest = True
    if job.status == RUNNING:
        extcall Queues(self.providerJobQueues).push(job.providerAddr, CANCELLING, _jobId)
        self._save(job, RUNNING)
        return
    job.time.end = block.timestamp
    self._refund(job, job.cost.maxCost)
    self._save(job, CANCELLED)

@external
def topUpJob(_jobId: bytes32, _amount: uint256):
    job: records.State = staticcall Repository(self.jobs).state(_jobId)
    self._top_up(job, msg.sender, _amount)

@external
def topUpJobDelegate(_jobId: bytes32):
    job: records.State = staticcall Repository(self.jobs).state(_jobId)
    if msg.sender not in [job.customerAddr, job.providerAddr, self.scheduler]:
        raw_revert(method_id("CustomerMetaSchedulerProviderOnly()"))
    if not job.cost.delegateSpendingAuthority:
        raw_revert(method_id("NoSpendingAuthority()"))
    price: uint256 = self._price(job)
    bought: uint256 = job.cost.maxCost // price
    used: uint256 = 0
    if job.time.start > 0:
        used = (block.timestamp - job.time.start) // 60
    remaining: uint256 = bought - min(bought, used)
    limit: uint256 = staticcall Rules(self.constants).topUpSliceDurationMin()
    if remaining > limit:
        raw_revert(
            abi_encode(
                remaining, limit, method_id=method_id("RemainingTimeAboveLimit(uint256,uint256)")
            )
        )
    self._top_up(job, job.customerAddr, limit * price)

@external
def setDelegateSpendingAuthority(_jobId: bytes32, _delegate: bool):
    job: records.State = staticcall Repository(self.jobs).state(_jobId)
    self._only_customer(job)
    job.cost.delegateSpendingAuthority = _delegate
    self._save(job, job.status)

# What the Grid's own services call

@external
def metaSchedule(_jobId: bytes32, _provider: address):
    self._only_scheduler()
    if not staticcall Providers(self.providerManager).isValidForScheduling(_provider):
        raw_revert(method_id("ProviderNotJoined()"))
    job: records.State = staticcall Repository(self.jobs).state(_jobId)
    job.providerAddr = _provider
    self._move(job, META_SCHEDULED)
    extcall Queues(self.providerJobQueues).push(_provider, NEW, _jobId)

@external
def timeoutJob(_jobId: bytes32):
    self._only_scheduler()
    self._send_back(staticcall Repository(self.jobs).state(_jobId))

@external
def panicJob(_jobId: bytes32, _reason: String[256]):
    self._only_scheduler()
    job: records.State = staticcall Repository(self.jobs).state(_jobId)
    assert staticcall Repository(self.jobs).checkTransition(job.status, PANICKED)
    job.time.panicTimestamp = block.timestamp
    job.time.end = block.timestamp
    job.lastError = _reason
    self._refund(job, job.cost.maxCost)
    self._save(job, PANICKED)

@external
def setEnableRequestNewJob(_enabled: bool):
    self._only_admin()
    self.enableRequestNewJob = _enabled

@external
def withdrawAdmin(_amount: uint256):
    self._only_admin()
    assert extcall Token(self.credit).transfer(self.admin, _amount)

# What providers call

@external
def claimNextJob():
    jobId: bytes32 = extcall Queues(self.providerJobQueues).pop(msg.sender, NEW)
    job: records.State = staticcall Repository(self.jobs).state(jobId)
    # The customer may have cancelled it, or it may have gone to another provider since.
    if job.status != META_SCHEDULED or job.providerAddr != msg.sender:
        return
    self._move(job, SCHEDULED)
    log ClaimJobEvent(
        customerAddr=job.customerAddr,
        providerAddr=msg.sender,
        jobId=jobId,
        maxDurationMinute=convert(job.cost.maxCost // self._price(job), uint64),
        jobDefinition=staticcall Repository(self.jobs).definition(jobId),
    )

@external
def claimNextCancellingJob():
    jobId: bytes32 = extcall Queues(self.providerJobQueues).pop(msg.sender, CANCELLING)
    job: records.State = staticcall Repository(self.jobs).state(jobId)
    log ClaimNextCancellingJobEvent(
        customerAddr=job.customerAddr, providerAddr=msg.sender, jobId=jobId
    )

@external
def claimNextTopUpJob():
    jobId: bytes32 = extcall Queues(self.providerJobQueues).pop(msg.sender, TOP_UP)
    job: records.State = staticcall Repository(self.jobs).state(jobId)
    minutes: uint256 = job.cost.pendingTopUp // self._price(job)
    job.cost.pendingTopUp = 0
    self._save(job, job.status)
    log ClaimNextTopUpJobEvent(
        _jobId=jobId, _providerAddr=msg.sender, maxDurationMinute=convert(minutes, uint64)
    )

@external
def refuseJob(_jobId: bytes32):
    job: records.State = staticcall Repository(self.jobs).state(_jobId)
    self._only_provider(job)
    self._send_back(job)
    log JobRefusedEvent(_jobId=_jobId, _providerAddr=msg.sender, _customerAddr=job.customerAddr)

@external
def providerSetJobStatus(
    _jobId: bytes32,
    _status: uint8,
    _durationMinute: uint64,
    _lastError: String[256],
    _exitCode: int64,
):
    if _status > PANICKED:
        raw_revert(b"")
    job: records.State = staticcall Repository(self.jobs).state(_jobId)
    self._only_provider(job)
    # Before the bill: a job that may not end may not be paid for either.
    assert staticcall Repository(self.jobs).checkTransition(job.status, _status)
    if _status < RUNNING:
        raw_revert(
            abi_encode(
                job.status, _status, method_id=method_id("InvalidTransition(uint8,uint8)")
            )
        )
    job.lastError = _lastError
    job.exitCode = _exitCode
    if _status == RUNNING:
        job.time.start = block.timestamp
    elif job.status == RUNNING:
        job.time.end = block.timestamp
        job.cost.finalCost = self._bill(job, convert(_durationMinute, uint256))
    else:
        job.time.start = block.timestamp
        job.time.end = block.timestamp
        self._refund(job, job.cost.maxCost)
    self._save(job, _status)

# What they have in common

@internal
def _bill(job: records.State, reported: uint256) -> uint256:
    """Pay the provider and the customer from the lock, and keep the Grid's share."""
    minutes: uint256 = (job.time.end - job.time.start) // 60
    if reported <= minutes + staticcall Rules(self.constants).billDurationDeltaMinute():
        minutes = reported
    else:
        log BilledTooMuchEvent(
            _jobId=job.jobId, _providerAddr=job.providerAddr, _billingAmount=reported
        )
    cost: uint256 = min(job.cost.maxCost, max(1, minutes) * self._price(job))
    cut: uint256 = cost * staticcall Rules(self.constants).deepsquareCut() // 100
    assert extcall Token(self.credit).transfer(job.providerAddr, cost - cut)
    self._refund(job, job.cost.maxCost - cost)
    return cost

@internal
def _refund(job: records.State, amount: uint256):
    if amount > 0:
        assert extcall Token(self.credit).transfer(job.customerAddr, amount)

@internal
def _top_up(job: records.State, payer: address, amount: uint256):
    if job.status not in [SCHEDULED, RUNNING]:
        raw_revert(abi_encode(job.status, method_id=method_id("RunningScheduledStatusOnly(uint8)")))
    topped: records.State = job
    topped.cost.maxCost += amount
    topped.cost.pendingTopUp += amount
    assert extcall Token(self.credit).transferFrom(payer, self, amount)
    extcall Queues(self.providerJobQueues).push(job.providerAddr, TOP_UP, job.jobId)
    self._save(topped, job.status)

@internal
def _send_back(job: records.State):
    if job.status not in [META_SCHEDULED, SCHEDULED]:
        raw_revert(
            abi_encode(job.status, method_id=method_id("MetaScheduledScheduledStatusOnly(uint8)"))
        )
    freed: records.State = job
    freed.providerAddr = empty(address)
    freed.time.cancelRequestTimestamp = 0
    self._move(freed, PENDING)

@internal
def _move(job: records.State, status: uint8):
    """Change the status of a job that nothing is paid for. The rules are the repository's."""
    assert staticcall Repository(self.jobs).checkTransition(job.status, status)
    self._save(job, status)

@internal
def _save(job: records.State, status: uint8):
    saved: records.State = job
    saved.status = status
    extcall Repository(self.jobs).save(saved)

@view
@internal
def _price(job: records.State) -> uint256:
    """Wei of credit a minute."""
    prices: records.ProviderPrices = (
        staticcall Providers(self.providerManager).getProviderPrices(job.providerAddr)
    )
    return staticcall Repository(self.jobs).costPerMinute(job.jobId, prices)

@view
@internal
def _only_customer(job: records.State):
    if msg.sender != job.customerAddr:
        raw_revert(
            abi_encode(
                msg.sender, job.customerAddr, method_id=method_id("CustomerOnly(address,address)")
            )
        )

@view
@internal
def _only_provider(job: records.State):
    if msg.sender != job.providerAddr:
        raw_revert(
            abi_encode(
                msg.sender, job.providerAddr, method_id=method_id("JobProviderOnly(address,address)")
            )
        )

@view
@internal
def _only_scheduler():
    assert msg.sender == self.scheduler, "AccessControl: account is missing role"

@view
@internal
def _only_admin():
    assert msg.sender == self.admin, "AccessControl: account is missing role"
