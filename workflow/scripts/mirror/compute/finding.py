"""What the doctor says of PyTorch and the GPU, asked in the environment that will run."""

from __future__ import annotations

import torch

from ..core.findings import Finding, State
from .device import gpu_fault
from .gpus import held_gpus


def gpu_finding(environment: str, setting: str) -> Finding:
    """Whether this process' PyTorch can use the GPUs of this machine.

    Parameters
    ----------
    environment : str
        The environment's name, for the table.
    setting : str
        The setting that names its device.

    Returns
    -------
    Finding
        A problem where jobs would stop; never an error.
    """
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
    detail = f"PyTorch {torch.__version__} ({build})"
    held, fault = held_gpus(), gpu_fault()
    state: State = "ok"
    if fault is None:
        detail += f" computes on {torch.cuda.get_device_name(0)}"
    elif held:
        state = "problem"
        detail = f"{len(held)} GPUs are here and cannot be used: {fault[0]}; {fault[1]}; or set {setting}: cpu"
    else:
        detail += "; no GPU on this node"
    return Finding(f"PyTorch of envs/{environment}.yaml", state, detail)
