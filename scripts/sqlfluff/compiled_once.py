"""SQLFluff compiles every macro of dbt_project anew for each file that it lints, which is most of its time.

What a text compiles to follows from the text and from the kind of environment, so it is kept for the next file.
"""

import functools

from jinja2 import Environment


def _keep(compile_anew):
    kept = {}

    @functools.wraps(compile_anew)
    def compile_once(self, source, name=None, filename=None, raw=False, defer_init=False):
        if not isinstance(source, str):
            return compile_anew(self, source, name, filename, raw, defer_init)
        key = (type(self), *sorted(self.extensions), source, name, filename, raw, defer_init)
        if key not in kept:
            kept[key] = compile_anew(self, source, name, filename, raw, defer_init)
        return kept[key]

    return compile_once


# SQLFluff loads this module again for each file.
if not hasattr(Environment.compile, "__wrapped__"):
    Environment.compile = _keep(Environment.compile)
