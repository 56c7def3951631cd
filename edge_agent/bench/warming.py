"""Lets compiled kernels answer before anything is measured."""

import asyncio

import click

from protocols import compiled
from protocols.kernel import kernels


def warmed() -> str:
    """Return which form of our kernels answers, ``compiled`` or ``plain``.

    Why it is the plain one is told on standard error.
    """
    problem = None
    if not all(kernel.is_compiled for kernel in kernels()):
        try:
            compiled.load()
        except compiled.NotMade as error:
            click.echo(f"{error}; compiling them takes a while, once", err=True)
            problem = asyncio.run(compiled.warm())
        except compiled.Unusable as error:
            problem = f"{error}; the plain kernels serve"
    if problem:
        click.echo(problem, err=True)
    return "plain" if problem else "compiled"
