"""`fastconv info`: the machine as fastconv sees it."""

HELP = "CPU, threads, kernel cache and versions"
ABOUT = "Shows what fastconv knows about this machine, and where it keeps compiled kernels."
EXAMPLES = (("fastconv info", ""), ("fastconv info --json", "for a bug report"))


def arguments(parser):
    """No options of its own."""


def run(args, output):
    """Print `machine.info()`."""
    from fastconv import __version__, machine

    found = {"fastconv": __version__, **machine.info()}
    output.result(table(found), **found)


def table(found):
    """The same facts, a line each."""
    return "\n".join(f"{name:<12}  {value}" for name, value in facts(found))


def facts(found):
    """(name, text) of each fact."""
    yield "fastconv", found["fastconv"]
    yield "CPU", f"{found['cpu']} ({found['llvm_cpu']} to the compiler)"
    yield "vectors", f"{found['vector_bits']} bits, {'with' if found['fma'] else 'without'} fused multiply-add"
    yield "caches", ", ".join(f"{level} {size >> 10:,} KiB" for level, size in found["caches"].items())
    yield "cores", f"{found['physical_cores']} physical, within this process's limits"
    yield "threads", f"{found['threads']}, threading layer {found['threading_layer']}"
    yield "free memory", f"{found['free_memory'] / 2**30:.1f} GiB"
    yield "kernel cache", found["kernel_cache"]
    yield "versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items())
