# pragma version ^0.4.3
"""All jobs, and the rules of which status may follow which. Written to by the MetaScheduler only."""

import records

event JobCreated:
    _jobId: bytes32

event JobTransitionEvent:
    _jobId: bytes32
    _from: uint8
    _to: uint8

PENDING: constant(uint8) = 0
META_SCHEDULED: constant(uint8) = 1
SCHEDULED: constant(uint8) = 2
RUNNING: constant(uint8) = 3
CANCELLED: constant(uint8) = 4
FINISHED: constant(uint8) = 5
FAILED: constant(uint8) = 6
OUT_OF_CREDITS: constant(uint8) = 7
PANICKED: constant(uint8) = 8

owner: public(address)
jobIdCounter: public(uint256)
entries: HashMap[bytes32, records.Job]
byCustomer: HashMap[address, DynArray[bytes32, records.MOST_JOBS]]

@deploy
def __init__():
    self.owner = msg.sender

@external
def give(owner: address):
    self._only_owner()
    self.owner = owner

@external
def create(
    definition: records.JobDefinition,
    customer: address,
    maxCost: uint256,
    jobName: bytes32,
    delegateSpendingAuthority: bool,
) -> bytes32:
    self._only_owner()
    self.jobIdCounter += 1
    jobId: bytes32 = convert(self.jobIdCounter, bytes32)
    job: records.Job = empty(records.Job)
    job.jobId = jobId
    job.customerAddr = customer
    job.definition = definition
    job.cost.maxCost = maxCost
    job.cost.delegateSpendingAuthority = delegateSpendingAuthority
    job.time.submit = block.timestamp
    # Not a sign that anybody asked to cancel: the Grid sets it so, and so clients must not use it.
    job.time.cancelRequestTimestamp = block.timestamp
    job.time.blockNumberStateChange = block.number
    job.jobName = jobName
    self.entries[jobId] = job
    self.byCustomer[customer].append(jobId)
    log JobCreated(_jobId=jobId)
    return jobId

@external
def save(state: records.State):
    """What changes in a job's life. A change of status is checked and announced."""
    self._only_owner()
    jobId: bytes32 = state.jobId
    before: uint8 = self.entries[jobId].status
    self.entries[jobId].providerAddr = state.providerAddr
    self.entries[jobId].cost = state.cost
    self.entries[jobId].time = state.time
    self.entries[jobId].hasCancelRequest = state.hasCancelRequest
    self.entries[jobId].lastError = state.lastError
    self.entries[jobId].exitCode = state.exitCode
    if state.status != before:
        self._check(before, state.status)
        self.entries[jobId].status = state.status
        self.entries[jobId].time.blockNumberStateChange = block.number
        log JobTransitionEvent(_jobId=jobId, _from=before, _to=state.status)

@view
@external
def state(_jobId: bytes32) -> records.State:
    self._known(_jobId)
    return records.State(
        jobId=_jobId,
        status=self.entries[_jobId].status,
        customerAddr=self.entries[_jobId].customerAddr,
        providerAddr=self.entries[_jobId].providerAddr,
        cost=self.entries[_jobId].cost,
        time=self.entries[_jobId].time,
        hasCancelRequest=self.entries[_jobId].hasCancelRequest,
        lastError=self.entries[_jobId].lastError,
        exitCode=self.entries[_jobId].exitCode,
    )

@view
@external
def definition(_jobId: bytes32) -> records.JobDefinition:
    return self.entries[_jobId].definition

@view
@external
def costPerMinute(_jobId: bytes32, prices: records.ProviderPrices) -> uint256:
    """Wei of credit. GPUs are the whole job's, memory is in MB for each CPU."""
    cpus: uint256 = convert(self.entries[_jobId].definition.cpusPerTask, uint256)
    memory: uint256 = convert(self.entries[_jobId].definition.memPerCpu, uint256) * cpus
    task: uint256 = cpus * prices.cpuPricePerMin + memory * prices.memPricePerMin
    tasks: uint256 = convert(self.entries[_jobId].definition.ntasks, uint256)
    gpus: uint256 = convert(self.entries[_jobId].definition.gpus, uint256)
    return tasks * task + gpus * prices.gpuPricePerMin

@view
@external
def get(_jobId: bytes32) -> records.Job:
    self._known(_jobId)
    return self.entries[_jobId]

@view
@external
def jobs(_jobId: bytes32) -> (
    bytes32,
    uint8,
    address,
    address,
    records.JobDefinition,
    records.JobCost,
    records.JobTime,
    bytes32,
    bool,
    String[256],
    int64,
):
    job: records.Job = self.entries[_jobId]
    return (
        job.jobId,
        job.status,
        job.customerAddr,
        job.providerAddr,
        job.definition,
        job.cost,
        job.time,
        job.jobName,
        job.hasCancelRequest,
        job.lastError,
        job.exitCode,
    )

@view
@external
def getByCustomer(customer: address) -> DynArray[bytes32, records.MOST_JOBS]:
    return self.byCustomer[customer]

@view
@external
def jobIdByCustomer(customer: address, position: uint256) -> bytes32:
    return self.byCustomer[customer][position]

@pure
@external
def checkTransition(before: uint8, after: uint8) -> bool:
    """True if the move is allowed, otherwise the error that a transaction would meet."""
    self._check(before, after)
    return True

@pure
@internal
def _check(before: uint8, after: uint8):
    if before == after:
        raw_revert(method_id("SameStatusError()"))
    if before >= CANCELLED:
        raw_revert(abi_encode(before, method_id=method_id("JobHotStatusOnly(uint8)")))
    allowed: bool = False
    if before == PENDING:
        allowed = after in [META_SCHEDULED, CANCELLED, PANICKED]
    elif before == META_SCHEDULED:
        allowed = after in [PENDING, SCHEDULED, CANCELLED, PANICKED]
    elif before == SCHEDULED:
        allowed = after in [PENDING, RUNNING, CANCELLED, FAILED, PANICKED]
    elif before == RUNNING:
        allowed = after in [CANCELLED, FINISHED, FAILED, OUT_OF_CREDITS, PANICKED]
    if not allowed:
        raw_revert(
            abi_encode(before, after, method_id=method_id("InvalidTransition(uint8,uint8)"))
        )

@view
@internal
def _known(jobId: bytes32):
    if self.entries[jobId].jobId == empty(bytes32):
        raw_revert(method_id("InvalidJob()"))

@internal
def _only_owner():
    assert msg.sender == self.owner, "Ownable: caller is not the owner"
