"""The same call in several Python threads at once."""

import threading


def differing(function, inputs, expected, repeats):
    """Indices of `inputs` for which `function`, called in a thread for each input at once, gave other bytes than expected."""
    wrong = []

    def work(i):
        wrong.extend(i for _ in range(repeats) if function(inputs[i]).tobytes() != expected[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong
