"""The account that PostgreSQL runs under: it refuses to run as root."""

import ctypes
import os
import pwd
from pathlib import Path

from forge_pipelines.errors import PlatformError

_ORDINARY_ACCOUNT = "nobody"
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def leave_root(data: Path) -> None:
    """Where this process is root's, make it the account that owns ``data``, or ``nobody`` when that is not made yet.

    Of root's powers it keeps one, for itself and its children: to reach files whatever their mode says
    (``capabilities(7)``, CAP_DAC_OVERRIDE). So nothing above the data folder or the programs is opened to others.

    Raises:
        PlatformError: this machine does not let root do that.
    """
    if os.geteuid() != 0:
        return
    try:
        account = pwd.getpwuid(data.stat().st_uid) if data.exists() else pwd.getpwnam(_ORDINARY_ACCOUNT)
        _become(account)
    except (KeyError, OSError) as error:
        message = (
            f"PostgreSQL does not run as root, and this machine lets root become no other account ({error}): "
            "run Forge as an ordinary user, or name a server in FORGE_POSTGRES_URL"
        )
        raise PlatformError(message) from error


def _become(account: pwd.struct_passwd) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    kept = 1 << _CAP_DAC_OVERRIDE
    low_and_high = (_Capabilities * 2)(_Capabilities(kept, kept, kept))
    _check(libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), low_and_high))
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
