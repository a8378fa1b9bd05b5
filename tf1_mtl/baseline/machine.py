"""Says which runtime and machine recorded, since another one may round differently."""

import platform
import sys
from typing import Dict

import numpy as np


def recorded_by(tensorflow: str) -> Dict[str, str]:
    """Returns what a manifest says of the runtime.

    Args:
      tensorflow: Its version.
    """
    return {
        "tensorflow": tensorflow,
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "numpy": np.__version__,
        "platform": f"{platform.machine()} {platform.system()}",
        "cpu": _cpu(),
    }


def _cpu() -> str:
    """Returns the name of the CPU, its model and its vector units, which decide the kernels."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines()]
    except OSError:
        return platform.processor() or "unknown"
    facts = {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}
    units = sorted(set(facts.get("flags", "").split()) & {"avx", "avx2", "avx512f", "fma"})
    name = "{} (family {}, model {})".format(
        *(facts.get(key, "?") for key in ("model name", "cpu family", "model"))
    )
    return " ".join([name, *units])
