"""What ``vitalwire bench ingest`` measures: a whole gateway, its limits, and others.

gateway, broker and store are real processes on this machine, as an operator runs them.
"""
