"""How much of the computer this process may use: cores and memory, within affinity, container and operating system limits."""

import functools
import os
from pathlib import Path

from fastconv.errors import MemoryLimitError
from fastconv.machine.cpu import SYSFS

__all__ = ["free_memory", "physical_cores", "require_memory"]

CGROUPS = Path("/sys/fs/cgroup")  # version 2, or version 1 with a folder for each controller
OWN_CGROUP = Path("/proc/self/cgroup")  # lines "number:controllers:path"; version 2 names no controllers


@functools.cache
def physical_cores():
    """Cores this process may use: affinity mask, without hyper-threads, within the container's CPU quota; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        count = len({core_of(number) for number in os.sched_getaffinity(0)})
    else:
        count = cores_by_psutil()
    return max(1, min([count, *quotas()]))


def cores_by_psutil():
    """The same without Linux: macOS has no affinity, Windows has."""
    import psutil

    count = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    process = psutil.Process()
    return min(count, len(process.cpu_affinity())) if hasattr(process, "cpu_affinity") else count


def core_of(number):
    """A name for the core that logical CPU `number` is a thread of."""
    try:
        return (SYSFS / f"cpu{number}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return number


def control_groups(controller):
    """Folders of this process's control group and of all around it, whose limits hold as well; both versions."""
    try:
        lines = [line.split(":", 2) for line in OWN_CGROUP.read_text().splitlines()]
    except OSError:
        lines = []
    yield from (CGROUPS, CGROUPS / controller)  # in a container the process's path may name what only the host can see
    for number, controllers, path in lines:
        root = CGROUPS if number == "0" else CGROUPS / controller
        if number == "0" or controller in controllers.split(","):
            own = Path(path.strip("/"))
            yield from (root / part for part in (own, *own.parents) if part.parts)


def numbers(file):
    """The whole numbers at the start of a file such as `cpu.max`; "max" is none, as is a file that cannot be read."""
    try:
        words = file.read_text().split()
    except OSError:
        return []
    return [int(word) for word in words if word.lstrip("-").isdecimal()] if words[:1] != ["max"] else []


def quotas():
    """Whole CPUs, at least one, that each quota above this process allows."""
    for folder in control_groups("cpu"):
        found = numbers(folder / "cpu.max") or numbers(folder / "cpu.cfs_quota_us") + numbers(folder / "cpu.cfs_period_us")
        if len(found) == 2 and min(found) > 0:
            yield max(1, found[0] // found[1])


def free_memory():
    """Bytes that can be had without swapping, within the container's limit."""
    import psutil

    return min([psutil.virtual_memory().available, *container_memory()])


def container_memory():
    """Bytes that each memory limit above this process leaves; files kept in memory count as free, as for the whole machine."""
    for folder in control_groups("memory"):
        most = numbers(folder / "memory.max") or numbers(folder / "memory.limit_in_bytes")
        used = numbers(folder / "memory.current") or numbers(folder / "memory.usage_in_bytes")
        if most and used:
            yield max(0, most[0] - used[0] + file_memory(folder))


def file_memory(folder):
    """Bytes of a control group that hold copies of files, which the system gives back when they are needed."""
    try:
        rows = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    total = "total_" if "total_inactive_file" in rows else ""  # version 1: with the groups below
    return sum(int(rows.get(f"{total}{kind}_file", 0)) for kind in ("active", "inactive"))


def require_memory(needed, what):
    """Refuse, before anything is allocated, what cannot fit; `needed` in bytes."""
    free = free_memory()
    if needed > free:
        raise MemoryLimitError(
            f"{what} needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free; use a smaller batch or smaller images"
        )
