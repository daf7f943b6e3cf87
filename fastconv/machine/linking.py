"""A kernel becomes machine code once, together with all that it calls.

Numba optimises and translates each function that a kernel calls, the body of its `prange` and two wrappers around that, on their
own, although what runs is the copy that is linked into the kernel: most code four times and more.  While a kernel is compiled,
these are only linked.  (So none of ours may call itself: it would need code of its own.)
"""

import sys

__all__ = ["Linking", "is_part"]

BODY = "__numba_parfor_gufunc"  # how the name of the body of a prange begins
PACKAGES = ("fastconv", "numba")


def is_part(dispatcher):
    """Whether only compiled code calls a function: ours and Numba's, but for those that a module knows by their own name, and
    blocks that leave compiled code.  Any other may be called by Python, which needs an entry."""
    from numba.core.dispatcher import LiftedCode

    function = dispatcher.py_func
    module = function.__module__ or ""
    has_a_name = getattr(sys.modules.get(module), function.__name__, None) is dispatcher
    return module.partition(".")[0] in PACKAGES and not has_a_name and not isinstance(dispatcher, LiftedCode)


class Linking:
    """What Numba's code generator does otherwise from `begin` to `end`; its compiler lock guards that."""

    def __init__(self):
        from numba.core.registry import cpu_target

        self.codegen = cpu_target.target_context.codegen()
        self.library = library_of(self)
        self.under_way = []  # of the functions being compiled, an inner one after an outer one: is it a part?
        self.environments = {}  # of parts, by name, until a kernel has a place for them

    def begin(self, only_linked):
        """A compilation begins, of a part or of a kernel or a function of others."""
        if not self.under_way:
            self.codegen._library_class, self.codegen.set_env = self.library, self.set_environment
        self.under_way.append(only_linked)

    def end(self):
        self.under_way.pop()
        if not self.under_way:
            for name in ("_library_class", "set_env"):
                vars(self.codegen).pop(name, None)
            for name in [*filter(self.codegen._engine.is_symbol_defined, self.environments)]:
                self.codegen.set_env(name, self.environments.pop(name))

    def set_environment(self, name, environment):
        """Give a function its constants that are Python objects; those of a part have no place before its kernel has."""
        if self.codegen._engine.is_symbol_defined(name):
            type(self.codegen).set_env(self.codegen, name, environment)
        else:
            self.environments[name] = environment


def library_of(linking):
    """The class of the libraries that are made between `begin` and `end`."""
    from numba.core.codegen import JITCodeLibrary

    class Library(JITCodeLibrary):
        """A function with all that it calls; it is optimised and translated when somebody asks for its machine code."""

        def __init__(self, codegen, name):
            super().__init__(codegen, name)
            self.only_linked = linking.under_way[-1] or name.startswith(BODY)
            self.is_translated = False

        def _optimize_final_module(self):
            """Later, in `translate`."""

        def _finalize_final_module(self):
            self._finalized = True  # it can be linked; Numba asks for no more

        def translate(self):
            self._ensure_finalized()
            if not self.is_translated:
                self.is_translated = True
                super()._optimize_final_module()
                super()._finalize_final_module()

        def get_pointer_to_function(self, name):
            """0 for a part: Numba makes an entry for Python of it, which nobody uses."""
            if self.only_linked:
                return 0
            self.translate()
            return super().get_pointer_to_function(name)

        def _set_compiled_object(self, value):
            self.only_linked = False  # but a kernel from the cache
            super()._set_compiled_object(value)

        def _get_compiled_object(self):
            self.translate()
            return super()._get_compiled_object()

    return Library
