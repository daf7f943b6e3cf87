"""Peak memory of the networks of `fastconv bench --direction networks`, and of one convolution of VGG-16 in three directions,
beside PyTorch's: `python bench/peak_memory.py`.

Each of them runs in a process of its own for each library and layout, a few times over; the kernels are compiled before.  The
numbers are the most MB (1,000,000 bytes) of memory that the process had at once, interpreter and imported libraries included,
and how much of that was there before the first call: interpreter, libraries, and weights where they are made at once.
"""

import json
import resource
import subprocess
import sys

from fastconv.benchmark import peers, shapes, tasks
from fastconv.display.table import Column, Table

LAYER = "vgg16_1_2"  # 224x224x64, 3x3, 64 filters
LIBRARIES = ("fastconv", "nchw", "nhwc")
CALLS = 3
COLUMNS = (
    Column("name", "what"),
    Column("what", "call"),
    *(Column(f"{library} {what}", f"{library} {what}", "right") for library in LIBRARIES for what in ("peak", "before")),
)


def all_tasks():
    layer = next(case for case in shapes.read_shapes() if case.name == LAYER)
    return [*tasks.networks(), *(tasks.convolution(layer, way) for way in ("forward", "input_grad", "weight_grad"))]


def peak():
    """MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def measured(number, library):
    """(peak MB, MB before the first call) of a task, in this process."""
    task = all_tasks()[number]
    call = task.make() if library == "fastconv" else in_one_layout(task, library)
    before = peak()
    for _ in range(CALLS):
        call()
    return peak(), before


def in_one_layout(task, layout):
    """PyTorch's call, without the same in the other layout beside it."""
    form = dict(peers.layouts())[layout]
    peers.layouts = lambda: ((layout, form),)
    return task.make_peers()[layout]


def in_a_process(number, library):
    """The same in a new one."""
    command = [sys.executable, __file__, str(number), library]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    rows = []
    for number, task in enumerate(all_tasks()):
        rows.append({"name": task.name, "what": task.what})
        in_a_process(number, "fastconv")  # compiles
        for library in LIBRARIES:
            rows[-1][f"{library} peak"], rows[-1][f"{library} before"] = in_a_process(number, library)
        print(f"{task.name}, {task.what}", file=sys.stderr)
    print(Table(COLUMNS, tuple(rows)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measured(int(sys.argv[1]), sys.argv[2])))
    else:
        main()
