"""The workflow's voice: signed markers, published files, tagged output, the combined grid.

This program travels inside the job, as the environment variable PUBLISHER, and is run by the
workflow's steps as ``python -c "$PUBLISHER" VERB ...``. It therefore needs nothing but Python 3.7
and its standard library; Pillow or ImageMagick only to combine and to crop, curl only to upload
over https. It never prints the prompt, the environment or the key.

    mark KIND key=value ...              print one signed marker line
    relay ROW                            copy stdin to stdout, line by line, tagged "[row ROW] "
    publish KIND FILE NAME key=value ... upload FILE as NAME, then print the marker KIND
    fetch URL SHA256 FILE                bring a published file here, checked
    crop FILE BOX                        cut FILE down to BOX, "left,top,right,bottom" in pixels
    combine FOLDER ROWS                  stack FOLDER/row-NN.png, publish grid.png, print "done"

A marker is ``@@sd1 <milliseconds> <kind> <key=value ...> mac=<32 hex>``: HMAC-SHA256 over the
text before " mac=", keyed with MAC_KEY, so that neither a prompt nor a stranger's log line can
forge one. ``url``, ``model`` and ``what`` are base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from urllib.parse import unquote

UPLOAD_SECONDS = 120
CHUNK = 1 << 20
TEXT_BYTES = 1 << 26
PLAIN_MODES = ("1", "L", "P", "RGB")
# What changes how the pixels of a picture look; the bot knows how.
SHADING = {"exif", "gamma", "icc_profile", "transparency"}
LINE_BYTES = 4096  # Linux's PIPE_BUF: a pipe never splits so much, or mixes other lines into it


def main(arguments):
    """Run one verb; the exit status is 0, or 1 with a sentence on stderr."""
    verbs = {
        "mark": mark,
        "relay": relay,
        "publish": publish,
        "fetch": fetch,
        "crop": crop,
        "combine": combine,
    }
    try:
        return verbs[arguments[0]](*arguments[1:]) or 0
    except Exception as error:
        # The root of a program: whatever went wrong, the step goes on and decides by the status.
        write(f"publisher: {type(error).__name__}: {error}", 2)
        return 1


def write(line, stream=1):
    """One system call a line, and a short one, so that parallel rows never mix within it."""
    short = line.encode("utf-8", "replace")[: LINE_BYTES - 1].decode("utf-8", "ignore")
    os.write(stream, short.encode() + b"\n")


def mark(kind, *pairs):
    """Print one signed marker."""
    fields = []
    for pair in pairs:
        name, value = pair.split("=", 1)
        if name in ("url", "model", "what"):
            value = base64.b64encode(value.encode()).decode()
        fields.append(f"{name}={value}")
    text = " ".join(["@@sd1", str(int(time.time() * 1000)), kind, *fields])
    key = bytes.fromhex(os.environ["MAC_KEY"])
    digest = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32]
    write(f"{text} mac={digest}")


def relay(row):
    """Tag a program's output with its row; CR-separated progress frames become lines."""
    tag = f"[row {row}] "
    write(f"{tag}{now()} starts")
    rest = b""
    while True:
        data = os.read(0, 65536)
        pieces = (rest + data).replace(b"\r", b"\n").split(b"\n")
        # A line that never ends costs no more than a long one: its tail is dropped as it comes.
        rest = pieces.pop()[: 4 * LINE_BYTES] if data else b""
        for piece in pieces:
            line = plain(piece.decode("utf-8", "replace"))
            if line:
                write(tag + line[:2000])
        if not data:
            break
    write(f"{tag}{now()} ends")


def now():
    """The moment, UTC, to the millisecond: shows in the log that rows ran side by side."""
    moment = time.time()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{seconds}.{int(moment * 1000) % 1000:03d}Z"


def plain(text):
    """The text without escape sequences, control characters and surrounding space."""
    out, position = [], 0
    while position < len(text):
        if text.startswith("\x1b[", position):
            position += 2
            while position < len(text) and not "@" <= text[position] <= "~":
                position += 1
        elif text[position] >= " " and text[position] != "\x7f":
            out.append(text[position])
        position += 1
    return "".join(out).strip()


def publish(kind, path, name, *pairs):
    """Upload a file and announce it."""
    size, digest = os.path.getsize(path), sha256(path)
    url = upload(path, name)
    mark(kind, *pairs, f"size={size}", "sha256=" + digest, "url=" + url)


def upload(path, name):
    """Put the file where UPLOAD_URL says; returns the address the other side can read it at."""
    base = os.environ["UPLOAD_URL"].rstrip("/")
    if base.startswith("file://"):
        folder = unquote(base[len("file://") :])
        os.makedirs(folder, exist_ok=True)
        part = os.path.join(folder, f".{name}.part")
        shutil.copyfile(path, part)
        os.replace(part, os.path.join(folder, name))
        return base + "/" + name
    command = ["curl", "-fsS", "--retry", "3", "--max-time", str(UPLOAD_SECONDS)]
    command += ["--upload-file", path, base + "/" + name]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    url = answer.decode("ascii", "replace").strip()
    if not url.startswith(("http://", "https://")) or any(c.isspace() for c in url):
        raise ValueError("the upload was answered with something that is no address")
    return url


def sha256(path):
    """The file's digest, 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(url, expected, path):
    """Bring a published file here; refuses one that is not what was published."""
    if url.startswith("file://"):
        shutil.copyfile(unquote(url[len("file://") :]), path)
    else:
        with urllib.request.urlopen(url, timeout=UPLOAD_SECONDS) as answer, open(path, "wb") as out:
            shutil.copyfileobj(answer, out, CHUNK)
    if sha256(path) != expected:
        raise ValueError("the input is not the file that was published")


def crop(path, box):
    """Cut the picture down to one cell of it."""
    left, top, right, bottom = (int(edge) for edge in box.split(","))
    try:
        from PIL import Image, PngImagePlugin
    except ImportError:
        shape = f"{right - left}x{bottom - top}+{left}+{top}"
        subprocess.run(["convert", path, "-crop", shape, "+repage", path], check=True)
        return
    # A painter may have added long texts; they are unpacked, dropped, and no reason to fail.
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = TEXT_BYTES
    with Image.open(path) as picture:
        cut = picture.crop((left, top, right, bottom))
    cut.save(path)


def combine(folder, rows):
    """Stack the rows that exist into one grid, publish it, and say how many there are."""
    strips = [os.path.join(folder, f"row-{row:02d}.png") for row in range(1, int(rows) + 1)]
    strips = [strip for strip in strips if os.path.exists(strip)]
    if strips:
        grid = os.path.join(folder, "grid.png")
        try:
            stack(strips, grid)
            publish("grid", grid, "grid.png", f"rows={len(strips)}")
        except Exception as error:
            # The rows are published; the bot can combine them itself.
            write(f"publisher: no grid: {type(error).__name__}: {error}", 2)
    mark("done", f"ok={len(strips)}", f"failed={int(rows) - len(strips)}")
    return 0 if strips else 1


def stack(strips, target):
    """One picture, the strips from top to bottom, each at full resolution."""
    try:
        from PIL import Image
    except ImportError:
        subprocess.run(["convert", "-append", *strips, target], check=True)
        return
    pictures = []
    for strip in strips:
        with Image.open(strip) as picture:
            if picture.mode not in PLAIN_MODES or SHADING.intersection(picture.info):
                raise ValueError(f"{picture.mode} {sorted(picture.info)} is left to the bot")
            pictures.append(picture.convert("RGB"))
    width = max(picture.width for picture in pictures)
    grid = Image.new("RGB", (width, sum(picture.height for picture in pictures)))
    top = 0
    for picture in pictures:
        grid.paste(picture, (0, top))
        top += picture.height
    grid.save(target, compress_level=1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
