"""What EMQX and an ExHook provider say to each other: one contract per protocol version.

The ``.proto`` files are written by hand, the ``*_pb2*`` modules by ``python -m protos.generate``.
"""
