"""The items of the ledger, one module for each of its sections."""
