"""What all tests need before they begin."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background: the tests of Ctrl-C need it, in children, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
