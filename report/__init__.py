"""A page on how the system did lately, that opens without a network: `make report`."""
