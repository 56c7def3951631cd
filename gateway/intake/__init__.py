"""How messages come in: from a broker, one station at a time, never too many."""
