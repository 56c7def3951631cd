"""Inners as parts of kernels: how numba is kept from making each run by itself.

By itself numba optimises every function with all that it calls, and makes machine code
of it: work that is done again in each function that calls it, and a fifth of all
compiling. An inner only runs as a part of kernels, so it is left as it is until then.
"""

from functools import cache
from importlib import import_module
from typing import Any


@cache
def pipeline() -> Any:  # noqa: ANN401 - a class of numba's kind
    """Return what numba is to compile an inner with."""
    codegen: Any = import_module("numba.core.codegen")
    compiler: Any = import_module("numba.core.compiler")

    class Part(codegen.AOTCodeLibrary):
        def _optimize_final_module(self) -> None:
            """Leave it to the kernels."""

        def get_pointer_to_function(self, _name: str) -> int:
            """Return what means that Python can't call it."""
            return 0

    class Parts(codegen.AOTCPUCodegen):
        _library_class = Part

        def set_env(self, _name: str, _env: object) -> None:
            """Leave out what it would need to be called from Python."""

    parts = Parts("inners")

    class Pipeline(compiler.Compiler):
        def __init__(
            self, types: object, target: object, _: None, *more: object
        ) -> None:
            super().__init__(types, target, parts.create_library("inner"), *more)

    return Pipeline
