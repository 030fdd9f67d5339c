"""Sensors that are not there: made-up climates, and recorded files played again."""
