"""Speed and memory of the projector and of a whole rendering, beside other tools: ``python -m benchmarks``.

Peers run in environments of their own, which hold neither drrval nor what it needs: this file, ``measure``, ``case``
and ``peers`` import nothing but the standard library and NumPy.
"""
