"""``python -m edge_agent`` is the ``vitalwire`` command."""

from edge_agent.cli import main

main(prog_name="vitalwire")
