"""
Make .venv from requirements.lock, for the Makefile.

Written so that Python 2.7 and 3.5 can read it too: they get a sentence and not a SyntaxError.
"""

import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, ".complete")
OLDEST, NEWEST = (3, 11), (3, 14)


def main():
    check_version()
    import fcntl  # noqa: PLC0415 - Windows is told so by check_version

    # Two `make` at once, in a fresh clone: the second waits for the first and finds its work done.
    with open(os.path.join(ROOT, ".venv.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_complete():
            build()


def check_version():
    found = sys.version_info[:2]
    spelled = "%d.%d" % found
    if os.name != "posix":
        sys.exit("policyd runs on Linux; on Windows use WSL.")
    if found < OLDEST:
        sys.exit(
            "policyd needs Python 3.11 or newer, and %s is %s.\n"
            "Say which one to use: make PYTHON=python3.12 ..." % (sys.executable, spelled)
        )
    if found > NEWEST:
        sys.exit(
            "%s is Python %s, and the embedded PostgreSQL exists for Python 3.11 to 3.14 only.\n"
            "Say which one to use: make PYTHON=python3.14 ..." % (sys.executable, spelled)
        )


def is_complete():
    try:
        made = os.path.getmtime(STAMP)
        subprocess.check_call([python(), "-c", ""], stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return False
    return all(
        os.path.getmtime(os.path.join(ROOT, name)) <= made for name in ("requirements.lock", "pyproject.toml")
    )


def python():
    return os.path.join(VENV, "bin", "python")


def build():
    started_over = os.path.exists(VENV) and not os.path.exists(STAMP)
    if started_over:
        shutil.rmtree(VENV)
    if not os.path.exists(python()):
        say("making .venv with Python %d.%d" % sys.version_info[:2])
        if subprocess.call([sys.executable, "-m", "venv", VENV]) != 0:
            sys.exit("Python could not make an environment. On Debian and Ubuntu: apt install python3-venv")
    say("installing what requirements.lock names (about 300 MB, hashes checked)")
    # What has no wheel is built by a locked setuptools, and not by one that pip would choose.
    with open(os.path.join(VENV, "setuptools.lock"), "w") as first:
        first.write(locked("setuptools"))
    pip("install", "--require-hashes", "-r", ".venv/setuptools.lock")
    pip("install", "--require-hashes", "--no-build-isolation", "-r", "requirements.lock")
    pip("install", "--no-deps", "--no-build-isolation", "--editable", ".")
    with open(STAMP, "w"):
        pass


def locked(name):
    """Its version and its hashes, as the lock has them."""
    with open(os.path.join(ROOT, "requirements.lock")) as lock:
        lines = lock.read().split("\n")
    first = last = [line.startswith(name + "==") for line in lines].index(True)
    while lines[last].endswith("\\"):
        last += 1
    return "\n".join(lines[first : last + 1])


def pip(*arguments):
    command = [python(), "-m", "pip", "--quiet", "--disable-pip-version-check"] + list(arguments)
    status = subprocess.call(command, cwd=ROOT)
    if status != 0:
        sys.exit("pip failed (status %d); what it said is above. Running make again starts over." % status)


def say(text):
    sys.stderr.write("  %s\n" % text)


if __name__ == "__main__":
    main()
