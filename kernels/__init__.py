"""Taichi kernels of the codec, installed as ``taichi_vvc.kernels``.

Every differentiable operation is a pair ``x_fwd`` / ``x_bwd`` with a hand-written adjoint. Kernels hold no
state, allocate nothing and read nothing but their arguments.
"""
