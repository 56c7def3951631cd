"""The conformance kit: proves a driver against its simulated device."""
