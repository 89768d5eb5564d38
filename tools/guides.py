#!/usr/bin/env python3
"""Runs every code block of the guides (docs/guide/*.md) and compares what comes out with what the page says.

    tools/with-adapter tools/guides.py [--engine FILE] [--update] [--data FOLDER] [--scan FILE] [PAGE...]

Each page runs in an empty folder of its own in which lie `data`, 16 phantoms or --data, and `scan.nii.gz`, a volume that
is not among them. Blocks run from top to bottom; `vnet-engine` is the engine.

| block | what happens |
|---|---|
| `console` | lines with `$ ` run in bash; the rest is what they print, stdout and stderr |
| `toml file=NAME`, `json file=NAME`, `sh file=NAME` | becomes that file |
| `rust` | runs as a test of the documentation (src/lib.rs includes the page) |
| `text` | is no code |

Words after `console`: `varies`: what is printed depends on data and device and is not compared; `status=N`: the exit
status of the last command, 0 unless given; `elsewhere=FILE`: the commands are run by that file instead; `lines=N`: --update keeps the first and last lines, N in all, with `…` between.
Numbers are compared as numbers of any value, `…` as any lines, and the line that names the device as any device. Besides, every path of the project that a page names
must exist, and every file that a page of docs/ links to. --update writes what came out into the pages instead of comparing.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUIDES = ROOT / "docs" / "guide"
FENCE = re.compile(r"^```(\S*)[ ]?(.*)$")
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PROJECT_PATH = re.compile(r"`((?:src|shaders|tests|tools|examples|benches|fuzz)/[\w/.-]+)`")
SECONDS = 900


class Block:
    """A fenced block: its lines are those from `start` up to `end` of the page."""

    def __init__(self, language, words, start, end, lines):
        self.language, self.start, self.end, self.lines = language, start, end, lines
        self.flags = {w.split("=")[0]: w.split("=")[-1] for w in words.split()}


def blocks(lines):
    """The fenced blocks of a page."""
    start = None
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence and start is None:
            start, opening = number + 1, fence
        elif fence:
            yield Block(opening[1], opening[2], start, number, lines[start:number])
            start = None
    if start is not None:
        raise ValueError(f"line {start}: the block does not end")


def commands(block):
    """Pairs of a command and the lines that it prints."""
    found = []
    for line in block.lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
        else:
            raise ValueError("a console block begins with a command")
    return found


def run(command, folder, path):
    """Exit status and lines of a command."""
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "NO_COLOR": "1"}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS)
    return done.returncode, done.stdout.splitlines()


def masked(line):
    return "device" if line.startswith("device: ") else " ".join(NUMBER.sub("0", line).split())


def agree(expected, found):
    """Whether the lines are the same but for numbers; `…` stands for any lines."""
    pattern = "".join(r"(?:.*\n)*" if line.strip() == "…" else re.escape(masked(line)) + r"\n" for line in expected)
    return re.fullmatch(pattern, "".join(masked(line) + "\n" for line in found)) is not None


def shortened(lines, most):
    if most is None or len(lines) <= int(most):
        return lines
    head = int(most) // 2
    return lines[:head] + ["…"] + lines[len(lines) - (int(most) - head):]


class Page:
    """A page that runs in a folder."""

    def __init__(self, file, folder, path, update):
        self.file, self.folder, self.path, self.update = file, folder, path, update
        self.lines = file.read_text().splitlines()
        self.problems, self.written = [], []

    def complain(self, line, text):
        self.problems.append(f"{self.file.relative_to(ROOT)}:{line + 1}: {text}")

    def check(self):
        for number, line in enumerate(self.lines):
            for path in PROJECT_PATH.findall(line):
                if not (ROOT / path).exists():
                    self.complain(number, f"{path} is not there")
        for block in blocks(self.lines):
            self.one(block)
        for block, lines in reversed(self.written):
            self.lines[block.start:block.end] = lines
        if self.written:
            self.file.write_text("\n".join(self.lines) + "\n")

    def one(self, block):
        if block.language == "console":
            self.console(block)
        elif block.language in ("toml", "json", "sh") and "file" in block.flags:
            (self.folder / block.flags["file"]).write_text("\n".join(block.lines) + "\n")
        elif block.language.startswith("rust"):
            if f"docs/guide/{self.file.name}" not in (ROOT / "src/lib.rs").read_text():
                self.complain(block.start, "src/lib.rs does not include this page")
        elif block.language != "text":
            self.complain(block.start, f"nothing runs blocks in {block.language or 'no language'}")

    def console(self, block):
        pairs, lines = commands(block), []
        if elsewhere := block.flags.get("elsewhere"):
            text = (ROOT / elsewhere).read_text()
            for command in (command for command, _ in pairs if command not in text):
                self.complain(block.start, f"{elsewhere} does not run {command}")
            return
        for position, (command, expected) in enumerate(pairs):
            print(f"{self.file.name}: {command}", flush=True)
            status, found = run(command, self.folder, self.path)
            wanted = int(block.flags.get("status", 0)) if position + 1 == len(pairs) else 0
            if status != wanted:
                self.complain(block.start, f"{command}: exit status {status}, expected {wanted}\n" + "\n".join(found))
            elif not (self.update or "varies" in block.flags or agree(expected, found)):
                self.complain(block.start, f"{command}: prints\n" + "\n".join(found))
            lines += [f"$ {command}"] + shortened([line.rstrip() for line in found], block.flags.get("lines"))
        if self.update:
            self.written.append((block, lines))


def broken_links():
    """Links of the documentation to files that are not there."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for number, line in enumerate(page.read_text().splitlines(), 1):
            for link in LINK.findall(line):
                if not (page.parent / link).exists():
                    yield f"{page.relative_to(ROOT)}:{number}: {link} is not there"


def prepared(folder, engine, arguments):
    """Puts `data` and `scan.nii.gz` into the folder."""
    if arguments.data:
        (folder / "data").symlink_to(arguments.data.resolve())
        shutil.copy(arguments.scan, folder / "scan.nii.gz")
        return
    for out, cases, seed in (("data", 16, 0), ("more", 1, 1)):
        command = [engine, "phantom", "--out", folder / out, "--cases", str(cases), "--seed", str(seed), "-q"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    shutil.move(folder / "more/images/phantom_000.nii.gz", folder / "scan.nii.gz")
    shutil.rmtree(folder / "more")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", type=Path, default=ROOT / "target/release/vnet-engine")
    parser.add_argument("--update", action="store_true", help="write what comes out into the pages")
    parser.add_argument("--data", type=Path, help="data set in place of phantoms")
    parser.add_argument("--scan", type=Path, help="volume that is not part of it")
    parser.add_argument("pages", nargs="*", type=Path)
    arguments = parser.parse_args()
    if bool(arguments.data) != bool(arguments.scan):
        parser.error("--data and --scan go together")
    problems = list(broken_links())
    for file in [page.resolve() for page in arguments.pages] or sorted(GUIDES.glob("*.md")):
        with tempfile.TemporaryDirectory() as folder:
            engine = Path(folder) / "bin" / "vnet-engine"
            engine.parent.mkdir()
            engine.symlink_to(arguments.engine.resolve())
            work = Path(folder) / "work"
            work.mkdir()
            prepared(work, engine, arguments)
            page = Page(file, work, engine.parent, arguments.update)
            page.check()
            problems += page.problems
    print("\n".join(problems) if problems else "guides: every block runs and prints what it says")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
