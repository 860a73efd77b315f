#!/usr/bin/env python3
"""Runs clang-tidy over the project's sources, remembering what it found.

A file's result is kept in ~/.cache/yoloquant/tidy under a hash of the file, all project headers it
reaches, its compile command, the rules and the versions of clang-tidy and of the dependencies. So a
second run costs nothing, and a run that a time limit ends is continued by the next one.

  scripts/tidy.py [--build build/release] [--limit SECONDS] [--jobs N] [FILE...]

Exit status: 0 no findings, 1 findings, 2 cannot run. Files left out by the limit are listed.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)
INCLUDE_ROOTS = (ROOT / "src", ROOT / "tests")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "yoloquant" / "tidy"
ONE_FILE_LIMIT = 600  # seconds
# Warnings are the compiler's business. The analyzer's own limit on paths, an eighth of its default:
# a third of the time.
EXTRA_ARGUMENTS = ("-Wno-everything", "-Xclang", "-analyzer-config", "-Xclang", "max-nodes=30000")


def find_tool():
    for name in ("clang-tidy-19", "clang-tidy"):
        if shutil.which(name):
            return name
    sys.exit("tidy: error: clang-tidy-19 is not installed: run ./scripts/setup.sh")


def read_commands(build):
    """Source file -> compiler arguments, for the project's own files."""
    database = build / "compile_commands.json"
    if not database.is_file():
        print(f"tidy: error: no {database}: run ./scripts/build.sh first", file=sys.stderr)
        sys.exit(2)
    commands = {}
    for entry in json.loads(database.read_text()):
        file = Path(entry["directory"], entry["file"]).resolve()
        if file.is_relative_to(ROOT) and not file.is_relative_to(build) and file.is_file():
            commands[file] = entry.get("command") or shlex.join(entry["arguments"])
    return commands


def project_includes(file, known):
    """Project headers that `file` includes directly."""
    if file not in known:
        found = []
        for name in INCLUDE.findall(file.read_text(errors="replace")):
            for folder in (file.parent, *INCLUDE_ROOTS):
                header = folder / name
                if header.is_file():
                    found.append(header.resolve())
                    break
        known[file] = found
    return known[file]


def reached(file, known):
    todo, seen = [file], {file}
    while todo:
        for header in project_includes(todo.pop(), known):
            if header not in seen:
                seen.add(header)
                todo.append(header)
    return sorted(seen)


def rules_for(file):
    folders = [folder for folder in file.parents if folder == ROOT or ROOT in folder.parents]
    return [folder / ".clang-tidy" for folder in folders if (folder / ".clang-tidy").is_file()]


class Keys:
    def __init__(self, tool, build):
        version = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True)
        default = CACHE.parent / "deps"
        wheels = Path(os.environ.get("YOLOQUANT_DEPS", default)) / ".wheels"
        self.common = version.stdout + " ".join(EXTRA_ARGUMENTS) + (wheels.read_text() if wheels.is_file() else "")
        self.build = build
        self.known = {}

    def of(self, file, command):
        digest = hashlib.sha256(self.common.encode())
        # Clones and build folders share results.
        command = command.replace(str(self.build), "BUILD").replace(str(ROOT), "ROOT")
        digest.update(command.encode())
        for part in rules_for(file) + reached(file, self.known):
            digest.update(str(part.relative_to(ROOT)).encode() + b"\0" + part.read_bytes())
        return digest.hexdigest()


def check(tool, build, file, timeout):
    """Findings of one file, as text; None when time ran out or clang-tidy was killed."""
    extra = [f"--extra-arg={argument}" for argument in EXTRA_ARGUMENTS]
    command = [tool, "-p", str(build), "--quiet", *extra, str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return None
    return (done.stdout.strip() or done.stderr.strip()) + "\n"


def in_order(files):
    """Files of the newest commits first; the others in an order that changes with the commit, so
    that under a limit, on machines without a memory, each has its turn."""
    def git(*arguments):
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
        return done.stdout.split() if done.returncode == 0 else []

    recent = {ROOT / name for name in
              git("diff", "--name-only", "HEAD") + git("log", "-5", "--name-only", "--format=")}
    seed = "".join(git("rev-parse", "HEAD"))
    return sorted(files, key=lambda file: (
        file not in recent, hashlib.sha256(f"{seed}{file.relative_to(ROOT)}".encode()).digest()))


class Progress:
    def __init__(self, total):
        self.total, self.done, self.start = total, 0, time.monotonic()
        self.shown = self.start

    def step(self):
        self.done += 1
        now = time.monotonic()
        if not sys.stdout.isatty() and now - self.shown < 30 and self.done < self.total:
            return
        self.shown = now
        end = "\r" if sys.stdout.isatty() and self.done < self.total else "\n"
        print(f"tidy: {self.done}/{self.total} files, {now - self.start:.0f} s", end=end, flush=True)


def run(tool, build, todo, limit, jobs):
    """Yields (file, key, findings or None)."""
    deadline = time.monotonic() + limit if limit else float("inf")

    def work(item):
        file, key = item
        left = deadline - time.monotonic()
        if left < 5:
            return file, key, None
        return file, key, check(tool, build, file, min(left, ONE_FILE_LIMIT))

    progress = Progress(len(todo))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(work, todo):
            if result[2] is not None:
                progress.step()
            yield result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--limit", type=float, default=0, help="seconds, 0: none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("files", nargs="*", type=Path, help="default: all that are compiled")
    arguments = parser.parse_args()
    tool, build = find_tool(), arguments.build.resolve()
    commands = read_commands(build)
    if arguments.files:
        wanted = {file.resolve() for file in arguments.files}
        commands = {file: text for file, text in commands.items() if file in wanted}

    CACHE.mkdir(parents=True, exist_ok=True)
    keys = Keys(tool, build)
    findings, todo, skipped = {}, [], []
    for file in in_order(commands):
        key = keys.of(file, commands[file])
        if (CACHE / key).is_file():
            findings[file] = (CACHE / key).read_text()
            print(findings[file], end="")
        else:
            todo.append((file, key))
    for file, key, text in run(tool, build, todo, arguments.limit, arguments.jobs):
        if text is None:
            skipped.append(file)
            continue
        findings[file] = text
        print(text, end="", flush=True)
        temporary = CACHE / f"{key}.{os.getpid()}"
        temporary.write_text(text)
        temporary.rename(CACHE / key)

    bad = [file for file, text in findings.items() if text]
    if skipped:
        names = " ".join(sorted(str(file.relative_to(ROOT)) for file in skipped))
        print(f"tidy: the limit of {arguments.limit:.0f} s cut this run; left for the next: {names}")
    print(f"tidy: {len(commands)} files: {len(findings) - len(bad)} clean, {len(bad)} with findings, "
          f"{len(skipped)} not checked; {len(commands) - len(todo)} known from before")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
