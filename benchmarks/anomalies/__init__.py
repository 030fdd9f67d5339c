"""The anomaly detector beside others: NAB, faults of known truth, recorded rooms."""
