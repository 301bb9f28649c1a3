"""A master whose libcrypt lacks yescrypt in a cluster that wants it: nobody gets a password that it cannot verify."""

import os
import shutil
import subprocess

import pytest
from cluster import wait_until
from support.people import import_people
from support.requires import missing

#: A libcrypt that knows everything but yescrypt; the rest it leaves to the machine's own.
LACKING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
static void *own(const char *name) {
    static void *library;
    if (!library) library = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
    return dlsym(library, name);
}
static int lacking(const char *setting) { return setting && !strncmp(setting, "$y$", 3); }
char *crypt_rn(const char *phrase, const char *setting, void *data, int size) {
    char *(*real)(const char *, const char *, void *, int) = own("crypt_rn");
    return lacking(setting) ? 0 : real(phrase, setting, data, size);
}
char *crypt_gensalt_rn(const char *prefix, unsigned long count, const char *bytes, int many, char *out, int size) {
    char *(*real)(const char *, unsigned long, const char *, int, char *, int) = own("crypt_gensalt_rn");
    return lacking(prefix) ? 0 : real(prefix, count, bytes, many, out, size);
}
int crypt_checksalt(const char *setting) {
    int (*real)(const char *) = own("crypt_checksalt");
    return lacking(setting) ? 1 : real(setting);
}
"""


@pytest.fixture(scope="module")
def lacking(directory):
    """Return the environment of a process whose libcrypt lacks yescrypt."""
    if shutil.which("cc") is None:
        missing("a C compiler", "gcc libc6-dev")
    found = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    real = next(line.rpartition("=> ")[2].strip() for line in found.splitlines() if "libcrypt.so.1 " in line)
    place = directory / "lacking"
    place.mkdir()
    (place / "crypt.c").write_text(LACKING)
    subprocess.run(
        ["cc", "-shared", "-fPIC", f'-DREAL="{os.path.realpath(real)}"', "-o", str(place / "libcrypt.so.1"),
         str(place / "crypt.c"), "-ldl"], check=True
    )  # fmt: skip
    # Both names that are looked for.
    shutil.copy(place / "libcrypt.so.1", place / "libcrypt.so.2")
    return {"LD_LIBRARY_PATH": str(place)}


@pytest.fixture(scope="module")
def running(cluster, directory, description, lacking):
    """Return frodo and gamgee in a cluster that wants yescrypt; gamgee's libcrypt has none."""
    description.write_text(description.read_text() + '\n[accounts]\nhash = "yescrypt"\nhash_cost = 1\n')
    frodo = cluster.add_master("frodo", "--boot-wait", "1")
    cluster.start(frodo)
    import_people(cluster, frodo, directory)
    assert cluster.status(frodo)["passwords"] == {"scheme": "yescrypt", "wants": "yescrypt"}
    gamgee = cluster.add_master("gamgee", "--boot-wait", "1")
    gamgee.environment = lacking
    cluster.start(gamgee)
    return cluster


def scheme(running, machine):
    return running.status(machine)["passwords"]["scheme"]


def change(running, machine, user, password):
    running.run("cpasswd", user, "--stdin", "--socket", str(machine.control), text=f"{password}\n")


def kind_of_hash(running, directory, machine, user):
    place = directory / f"export-{machine.name}-{user}-{os.urandom(4).hex()}"
    running.run("beonss", "export", "--passwd", str(place), "--control", str(machine.control))
    line = next(line for line in (place / "shadow").read_text().splitlines() if line.startswith(f"{user}:"))
    return line.split(":")[1].split("$")[1]


def test_a_master_that_lacks_the_scheme_is_named_and_nobody_is_locked_out(running, directory):
    frodo, gamgee = running.masters["frodo"], running.masters["gamgee"]
    for machine in (frodo, gamgee):
        wait_until(lambda machine=machine: scheme(running, machine) == "sha512crypt", "all use what all have")
        wait_until(
            lambda machine=machine: any("libcrypt of gamgee" in text for text in running.status(machine)["alarms"]),
            "the alarm names it",
        )
    for machine, user, password in ((frodo, "sam", "taters-precious-1"), (gamgee, "rosie", "taters-precious-2")):
        change(running, machine, user, password)
        assert kind_of_hash(running, directory, machine, user) == "6"
        for other in (frodo, gamgee):
            wait_until(lambda other=other, u=user, p=password: other.nslcd.login(u, p), f"{user} is let in everywhere")


def test_while_it_has_said_nothing_it_is_taken_to_lack_it_and_once_it_has_it_all_use_it(running, directory):
    frodo, gamgee = running.masters["frodo"], running.masters["gamgee"]
    gamgee.stop()
    frodo.stop()
    running.start(frodo)
    assert scheme(running, frodo) == "sha512crypt"
    assert any("gamgee has not said" in text for text in running.status(frodo)["alarms"])
    gamgee.environment = {}
    running.start(gamgee)
    wait_until(lambda: {scheme(running, frodo), scheme(running, gamgee)} == {"yescrypt"}, "all have it now")
    change(running, frodo, "sam", "taters-precious-3")
    assert kind_of_hash(running, directory, frodo, "sam") == "y"
    wait_until(lambda: gamgee.nslcd.login("sam", "taters-precious-3"), "and all verify it")
    assert not any("hashed with" in text for text in running.status(frodo)["alarms"])
