# pragma version ^0.4.3
"""The contract's tariff rules, with the values that were found in the Grid's bytecode."""

minimumAmount: public(constant(uint256)) = 100 * 10**18
billDurationDeltaMinute: public(constant(uint256)) = 15
topUpSliceDurationMin: public(constant(uint256)) = 30
deepsquareCut: public(constant(uint256)) = 20
claimJobTimeout: public(constant(uint256)) = 10
cancellationFeeMinute: public(constant(uint256)) = 5
