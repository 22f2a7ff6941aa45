# pragma version ^0.4.3
"""
The tuples of the Grid's contracts, in the order in which they travel.
Bounds of strings and lists are this test grid's own; a value beyond one is refused with empty
revert data, as bad calldata is.
"""

LONGEST_TEXT: constant(uint256) = 64
MOST_LABELS: constant(uint256) = 12
MOST_NODES: constant(uint256) = 8
MOST_JOBS: constant(uint256) = 1024

struct Label:
    key: String[LONGEST_TEXT]
    value: String[LONGEST_TEXT]

struct Affinity:
    label: Label
    op: bytes2

struct JobDefinition:
    gpus: uint64
    memPerCpu: uint64
    cpusPerTask: uint64
    ntasks: uint64
    batchLocationHash: String[LONGEST_TEXT]
    storageType: uint8
    uses: DynArray[Label, MOST_LABELS]
    affinity: DynArray[Affinity, MOST_LABELS]

struct JobCost:
    maxCost: uint256
    finalCost: uint256
    pendingTopUp: uint256
    delegateSpendingAuthority: bool

struct JobTime:
    submit: uint256
    start: uint256
    end: uint256
    cancelRequestTimestamp: uint256
    blockNumberStateChange: uint256
    panicTimestamp: uint256

struct Job:
    jobId: bytes32
    status: uint8
    customerAddr: address
    providerAddr: address
    definition: JobDefinition
    cost: JobCost
    time: JobTime
    jobName: bytes32
    hasCancelRequest: bool
    lastError: String[256]
    exitCode: int64

# A job without its definition: what changes while it lives.
struct State:
    jobId: bytes32
    status: uint8
    customerAddr: address
    providerAddr: address
    cost: JobCost
    time: JobTime
    hasCancelRequest: bool
    lastError: String[256]
    exitCode: int64

struct ProviderHardware:
    nodes: uint64
    gpusPerNode: DynArray[uint64, MOST_NODES]
    cpusPerNode: DynArray[uint64, MOST_NODES]
    memPerNode: DynArray[uint64, MOST_NODES]

struct ProviderPrices:
    gpuPricePerMin: uint256
    cpuPricePerMin: uint256
    memPricePerMin: uint256

struct Provider:
    addr: address
    providerHardware: ProviderHardware
    providerPrices: ProviderPrices
    labels: DynArray[Label, MOST_LABELS]
    isBanned: bool
