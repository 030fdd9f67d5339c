"""Numbered migrations of the database `sensordb`, and the program that applies them."""
