"""Anomalies in readings: an online detector, its score on NAB, and the streaming query."""
