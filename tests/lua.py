"""Runs a health check of Argo CD's by the interpreter that Argo CD runs it by, with the libraries that it leaves to it.

Used by tests/integration. Of Lua's libraries Argo CD opens base, table and a small os: a script that called another would fail there.
"""

import subprocess
from pathlib import Path
from typing import Any, Final

from e2e.cluster.binaries import binary

STATUSES: Final = frozenset({"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"})
_AROUND: Final = """
local write, tostring_, type_ = io.write, tostring, type
for _, name in ipairs({"io", "string", "math", "debug", "coroutine", "channel"}) do _G[name] = nil end
getmetatable("").__index = nil
obj = %s
local function health()
%s
end
local hs = health()
if type_(hs) ~= "table" then error("expect table output from Lua script, not " .. type_(hs)) end
write(tostring_(hs.status), "\\0", tostring_(hs.message or ""))
"""


class ScriptFailed(Exception):
    """The script ended in an error, or what it returned is no health."""


def health(script: Path, live: Any, folder: Path) -> tuple[str, str]:
    """Return status and message; `folder` is for a file of ours."""
    program = folder / f"{script.parent.name}.lua"
    program.write_text(_AROUND % (_literal(live), script.read_text()))
    done = subprocess.run([str(binary("glua")), str(program)], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode or done.stderr:
        raise ScriptFailed(done.stderr + done.stdout)
    status, _, message = done.stdout.partition("\0")
    if status not in STATUSES:
        raise ScriptFailed(f"Lua returned an invalid health status: {status}")
    return status, message


def _literal(value: Any) -> str:
    """Write a value of JSON as Lua writes it."""
    match value:
        case None:
            return "nil"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            return '"' + "".join(f"\\{byte:03d}" for byte in value.encode()) + '"'
        case list():
            return "{" + ",".join(map(_literal, value)) + "}"
        case dict():
            return "{" + ",".join(f"[{_literal(key)}]={_literal(one)}" for key, one in value.items()) + "}"
        case _:
            raise TypeError(type(value))
