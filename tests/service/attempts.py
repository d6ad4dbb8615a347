#!/usr/bin/env python3
"""Try what must be denied: from inside the server's unit, as another local user, and as root outside of any sandbox, the control.

Run on the host, with Python's standard library alone: `attempts.py WHO` prints one JSON object, what is tried to how that went ("succeeded", or
the error's name). NOUS_VM_ATTEMPTS is JSON in base64: where things are. `attempts.py table` prints the table that the role's README shows.

The control has to succeed, or to get as far as the argument that is wrong on purpose: a filter denies the call before the kernel looks at that.
Where it would do harm, or a container may not do it either, there is none, and the denial alone is looked at.
"""

import base64
import errno
import functools
import json
import mmap
import os
import resource
import signal
import socket
import sys

from ways import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    LIBC,
    NAME,
    NONE,
    SECONDS,
    SUCCEEDED,
    Attempt,
    Place,
    a_socket,
    any_program,
    called,
    change_protection,
    clear_flags,
    command,
    datagram,
    device,
    enter,
    hold_lock,
    hold_lock_by_reading,
    hostname,
    journal,
    listen,
    load_library,
    loader,
    mount,
    others,
    overwrite,
    past_the_gate,
    ptrace,
    raise_limit,
    read,
    read_memory,
    rename,
    routed,
    run,
    run_copy,
    run_from_memory,
    setuid_file,
    syscall,
    tcp,
    truncate,
    unix,
    unlink,
    write,
    write_to,
)

# A path that is not there inside is as good as one that may not be opened.
HIDDEN, FILTERED = "ENOENT EACCES", "EPERM"
ATTEMPTS = [
    # The network
    Attempt("server", "reach the gateway from behind", "ECONNREFUSED ENETUNREACH EPERM", lambda p: tcp("127.0.0.1", 443)),
    Attempt("server", "reach the host by its own address", "ENETUNREACH EPERM", lambda p: tcp(p["address"], 443)),
    Attempt("server", "find a way to any address on the internet", "ENETUNREACH EPERM", lambda p: routed("198.51.100.1")),
    Attempt("server", "find a way to the host's name server", "ENETUNREACH EPERM", lambda p: routed(p["nameserver"])),
    Attempt("server", "listen at another port", "EPERM EACCES", lambda p: listen(9999)),
    Attempt("server", "open an IPv6 socket", "EAFNOSUPPORT", lambda p: a_socket(socket.AF_INET6, socket.SOCK_STREAM)),
    Attempt("server", "open a unix socket", "EAFNOSUPPORT", lambda p: a_socket(socket.AF_UNIX, socket.SOCK_STREAM)),
    Attempt("server", "open a raw socket", "EPERM", lambda p: a_socket(socket.AF_INET, socket.SOCK_RAW, 1)),
    Attempt("server", "open a packet socket", "EAFNOSUPPORT", lambda p: a_socket(socket.AF_PACKET, socket.SOCK_RAW, 0)),
    Attempt("server", "open a netlink socket", "EAFNOSUPPORT", lambda p: a_socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)),
    Attempt("server", "open a vsock socket", "EAFNOSUPPORT", lambda p: a_socket(socket.AF_VSOCK, socket.SOCK_STREAM), NONE),
    Attempt("server", "reach D-Bus", "EAFNOSUPPORT ENOENT", lambda p: unix("/run/dbus/system_bus_socket")),
    Attempt("server", "reach systemd's own socket", "EAFNOSUPPORT ENOENT", lambda p: unix("/run/systemd/private")),
    Attempt("server", "reach systemd's notify socket", "EAFNOSUPPORT ENOENT", lambda p: datagram("/run/systemd/notify")),
    Attempt("server", "reach HAProxy's admin socket", "EAFNOSUPPORT ENOENT", lambda p: unix(p["proxy_admin"])),
    Attempt("server", "reach Caddy's admin socket", "EAFNOSUPPORT ENOENT", lambda p: unix("/run/caddy/admin.sock")),
    # What others keep
    Attempt("server", "read the signing key's file", HIDDEN, lambda p: read(p["key"])),
    Attempt("server", "read secrets.env", HIDDEN, lambda p: read("/etc/nous/secrets.env")),
    Attempt("server", "read /etc/shadow", HIDDEN, lambda p: read("/etc/shadow")),
    Attempt("server", "read a user's home", HIDDEN, lambda p: os.listdir("/home/ops")),
    Attempt("server", "read root's home", HIDDEN, lambda p: os.listdir("/root")),
    Attempt("server", "read the gateway's keys", HIDDEN, lambda p: os.listdir("/var/lib/caddy")),
    Attempt("server", "read the journal", HIDDEN, lambda p: journal()),
    # The audit log
    Attempt("server", "truncate the audit log", "EPERM", lambda p: truncate(p["audit"])),
    Attempt("server", "overwrite the audit log", "EPERM", lambda p: overwrite(p["audit"])),
    Attempt("server", "rename the audit log", "EPERM EACCES EBUSY EXDEV EROFS", lambda p: rename(p["audit"])),
    Attempt("server", "take the audit log's append-only flag away", "EPERM ENOTTY", lambda p: clear_flags(p["audit"])),
    Attempt("server", "unlink the audit log", "EPERM EACCES EBUSY EROFS", lambda p: unlink(p["audit"])),
    # Writing
    *(
        Attempt("server", f"write to {where}", "EROFS EACCES ENOENT EPERM", functools.partial(write_to, where))
        for where in ("/", "/usr/bin", "/etc", "/opt/nous", "/run", "/var", "/home", "/dev")
    ),
    Attempt("server", "write to the release that runs", "EROFS", lambda p: write(p["release"])),
    Attempt("server", "write a kernel setting", "EROFS EACCES ENOENT", lambda p: overwrite("/proc/sys/kernel/core_pattern"), NONE),
    Attempt("server", "write to its own control group", "EROFS EACCES ENOENT", lambda p: os.mkdir(f"/sys/fs/cgroup/{NAME}"), NONE),
    Attempt("server", "make a setuid file", "EPERM", lambda p: setuid_file(p["state"])),
    Attempt("server", "make a device", "EPERM", lambda p: device(p["state"])),
    Attempt("server", "open the machine's memory", "ENOENT EPERM EACCES", lambda p: read("/dev/mem"), NONE),
    # Running
    Attempt("server", "run a shell", "EACCES ENOENT EPERM", lambda p: run("/bin/sh", "-c", ":")),
    Attempt("server", "run any program of /usr/bin or /usr/sbin", "EACCES", lambda p: any_program("/usr/*bin/*", p["own"])),
    Attempt("server", "run a program of the state folder by the loader", "EPERM EACCES", lambda p: loader(p["state"])),
    Attempt("server", "run a program from /tmp", "EACCES", lambda p: run_copy("/tmp")),
    Attempt("server", "run a program from the state folder", "EACCES", lambda p: run_copy(p["state"])),
    Attempt("server", "run a program from memory", "EPERM EACCES", lambda p: run_from_memory()),
    Attempt("server", "load a library from the state folder", "EPERM", lambda p: load_library(p["state"])),
    Attempt("server", "map memory to write and run", "EPERM EACCES", lambda p: mmap.mmap(-1, 4096, prot=7).close()),
    Attempt("server", "make written memory runnable", "EPERM EACCES", lambda p: change_protection()),
    # The kernel
    Attempt("server", "load a module", FILTERED, lambda p: syscall("finit_module", -1, b"", 0), NONE),
    Attempt("server", "load another kernel", FILTERED, lambda p: syscall("kexec_load", 0, 0, None, 0), NONE),
    Attempt("server", "switch the machine off", FILTERED, lambda p: syscall("reboot", 0, 0, 0), NONE),
    Attempt("server", "add swap", FILTERED, lambda p: syscall("swapon", b"/nowhere", 0), NONE),
    Attempt("server", "read the kernel's log", FILTERED, lambda p: syscall("syslog", 2, None, 0), NONE),
    Attempt("server", "set the clock", FILTERED, lambda p: syscall("clock_settime", 999, None), "EINVAL"),
    Attempt("server", "tune the clock", FILTERED, lambda p: syscall("adjtimex", None), "EFAULT"),
    Attempt("server", "watch with perf", FILTERED, lambda p: syscall("perf_event_open", None, 0, 0, -1, 0), NONE),
    Attempt("server", "load a BPF program", FILTERED, lambda p: syscall("bpf", 999, None, 0), "EINVAL"),
    Attempt("server", "handle page faults", FILTERED, lambda p: syscall("userfaultfd", 0x7FFF0000), "EINVAL"),
    Attempt("server", "use io_uring", FILTERED, lambda p: syscall("io_uring_setup", 1, None), "EFAULT"),
    Attempt("server", "use a keyring", FILTERED, lambda p: syscall("keyctl", 999, 0), "ENOTSUP"),
    Attempt("server", "add a key", FILTERED, lambda p: syscall("add_key", None, None, None, 0, 0), "EFAULT"),
    Attempt("server", "run in real time", FILTERED, lambda p: syscall("sched_setscheduler", 0, 1, None), "EINVAL"),
    Attempt("server", "mount", FILTERED, lambda p: mount()),
    Attempt("server", "change its root", FILTERED, lambda p: os.chroot("/")),
    Attempt("server", "make a user namespace", FILTERED, lambda p: called(LIBC.unshare(CLONE_NEWUSER))),
    Attempt("server", "make a mount namespace", FILTERED, lambda p: called(LIBC.unshare(CLONE_NEWNS))),
    Attempt("server", "change the hostname", FILTERED, lambda p: hostname()),
    Attempt("server", "change its personality", FILTERED, lambda p: called(LIBC.personality(0x0400000))),
    Attempt("server", "become root", "EPERM EINVAL", lambda p: os.setuid(0)),
    # Other processes
    Attempt("server", "see other processes", "ENOENT", lambda p: others()),
    Attempt("server", "signal the gateway", "ESRCH EPERM", lambda p: os.kill(p["caddy"], 0)),
    Attempt("server", "be traced, or trace", FILTERED, lambda p: ptrace(0, 0)),
    Attempt("server", "read the gateway's memory", "EPERM ESRCH", lambda p: read_memory(p["caddy"]), "EFAULT"),
    Attempt("server", "enter another network namespace", "EPERM ENOENT", lambda p: enter(p["caddy"])),
    # Limits
    Attempt("server", "allow itself core dumps", "EPERM", lambda p: raise_limit(resource.RLIMIT_CORE)),
    Attempt("server", "allow itself more files", "EPERM", lambda p: raise_limit(resource.RLIMIT_NOFILE)),
    # Another local user
    Attempt("user", "reach the server past the gateway, over TCP", "ECONNREFUSED", past_the_gate),
    Attempt("user", "reach the server by the proxy's socket", "EACCES", lambda p: unix(p["proxy"])),
    Attempt("user", "pause traffic by HAProxy's admin socket", "EACCES", lambda p: unix(p["proxy_admin"])),
    Attempt("user", "open the gateway by Caddy's admin socket", "EACCES", lambda p: unix("/run/caddy/admin.sock")),
    Attempt("user", "enter the server's network namespace", "EACCES EPERM", lambda p: enter(p["pid"])),
    Attempt("user", "read the signing key", "EACCES", lambda p: read(p["key"])),
    Attempt("user", "read the server's credentials", "EACCES", lambda p: os.listdir("/run/credentials/nous.service")),
    Attempt("user", "read secrets.env", "EACCES", lambda p: read("/etc/nous/secrets.env")),
    Attempt("user", "read nous.env", "EACCES", lambda p: read("/etc/nous/nous.env")),
    Attempt("user", "read build.json", "EACCES", lambda p: read("/etc/nous-vm/build.json")),
    Attempt("user", "read deploy.json", "EACCES", lambda p: read("/etc/nous-vm/deploy.json")),
    Attempt("user", "read generation.json", "EACCES", lambda p: read("/etc/nous-vm/current/generation.json")),
    Attempt("user", "read the backups", "EACCES", lambda p: os.listdir("/opt/nous/backups")),
    Attempt("user", "read the database", "EACCES", lambda p: read(f"{p['state']}/state.db")),
    Attempt("user", "read the tokens", "EACCES", lambda p: read(f"{p['state']}/auth/tokens.json")),
    Attempt("user", "read the audit log", "EACCES", lambda p: read(p["audit"])),
    Attempt("user", "truncate the audit log", "EACCES", lambda p: truncate(p["audit"])),
    Attempt("user", "rename the audit log", "EACCES", lambda p: rename(p["audit"])),
    Attempt("user", "write beside the audit log", "EACCES", lambda p: write(os.path.dirname(p["audit"]))),
    Attempt("user", "write to the state folder", "EACCES", lambda p: write(p["state"])),
    Attempt("user", "write to the release that runs", "EACCES", lambda p: write(p["release"])),
    Attempt("user", "read the server's environment", "EACCES", lambda p: read(f"/proc/{p['pid']}/environ")),
    Attempt("user", "read the server's memory", "EACCES", lambda p: os.close(os.open(f"/proc/{p['pid']}/mem", os.O_RDONLY))),
    Attempt("user", "look into the server's root", "EACCES", lambda p: os.listdir(f"/proc/{p['pid']}/root/")),
    Attempt("user", "trace the server", "EPERM", lambda p: ptrace(16, p["pid"])),
    Attempt("user", "signal the server", "EPERM", lambda p: os.kill(p["pid"], 0)),
    Attempt("user", "command the server's unit", "EACCES", lambda p: command("systemctl", "reset-failed", "nous.service")),
    Attempt("user", "resume traffic with nous-vm", "EACCES", lambda p: command("/usr/local/sbin/nous-vm", "undrain")),
    Attempt("user", "hold the deployment lock", "EACCES", lambda p: hold_lock(p["lock"])),
    Attempt("user", "hold the deployment lock by reading", "EACCES", lambda p: hold_lock_by_reading(p["lock"])),
]


def outcome(attempt: Attempt, place: Place) -> str:
    """Try it in a process of its own, which it may change or lose."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        found = SUCCEEDED
        try:
            attempt.do(place)
        except TimeoutError:
            found = "ETIMEDOUT"
        except OSError as error:
            found = errno.errorcode.get(error.errno or 0, f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - whatever comes of an attempt is what is looked for
            found = f"{type(error).__name__}: {error}"
        os.write(theirs, found.encode())
        os._exit(0)
    os.close(theirs)
    with open(ours, encoding="utf-8") as pipe:
        found = pipe.read()
    _pid, status = os.waitpid(child, 0)
    return found or f"ended by signal {os.WTERMSIG(status)}"


def table() -> str:
    """Lay the attempts out for the role's README."""
    lines = []
    for who, title in (("server", "from inside the server's unit"), ("user", "as another local user")):
        tried = [attempt for attempt in ATTEMPTS if attempt.who == who]
        lines += [f"| tried {title} | denied with |", "|---|---|"]
        lines += [f"| {attempt.what} | {' or '.join(attempt.denied.split())} |" for attempt in tried] + [""]
    return "\n".join(lines)


def main() -> None:
    who = sys.argv[1]
    if who == "table":
        print(table(), end="")
        return
    place = json.loads(base64.b64decode(os.environ["NOUS_VM_ATTEMPTS"]))
    tried = [attempt for attempt in ATTEMPTS if (attempt.who == who if who != "control" else attempt.control != NONE)]
    print(json.dumps({f"{attempt.who}: {attempt.what}": outcome(attempt, place) for attempt in tried}))


if __name__ == "__main__":
    main()
