"""Helper program of the workflows: signed markers, uploads, tagged output, the combined grid.

The job contains it as the environment variable PUBLISHER, and the workflow's steps run it as
``python -c "$PUBLISHER" VERB ...``. It needs only Python 3.7 and its standard library; Pillow or
ImageMagick to combine and to crop, curl to upload over https. It never prints the prompt, the
environment or the key.

    mark KIND key=value ...              print one signed marker line
    relay ROW                            copy stdin to stdout, line by line, tagged "[row ROW] "
    publish KIND FILE NAME key=value ... upload FILE as NAME, then print the marker KIND
    fetch URL SHA256 FILE                download a published file and verify it
    crop FILE BOX                        cut FILE down to BOX, "left,top,right,bottom" in pixels
    combine FOLDER ROWS                  stack FOLDER/row-NN.png, publish grid.png, print "done"

A marker is ``@@sd1 <milliseconds> <kind> <key=value ...> mac=<32 hex>``: HMAC-SHA256 over the
text before " mac=", keyed with MAC_KEY, so that neither a prompt nor another job's log line can
forge one. ``url``, ``model``, ``sampler`` and ``what`` are base64.
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
# Metadata that changes how pixels look; such images are left to the bot.
SHADING = {"exif", "gamma", "icc_profile", "transparency"}
LINE_BYTES = 4096  # Linux's PIPE_BUF: writes up to this size to a pipe are atomic


def main(arguments):
    """Run one verb; return the exit status 0, or 1 with a message on stderr."""
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
        # Top level of the program: the step continues and decides by the exit status.
        write(f"publisher: {type(error).__name__}: {error}", 2)
        return 1


def write(line, stream=1):
    """Write a line with one short system call, so that lines of parallel rows never mix."""
    short = line.encode("utf-8", "replace")[: LINE_BYTES - 1].decode("utf-8", "ignore")
    os.write(stream, short.encode() + b"\n")


def mark(kind, *pairs):
    """Print one signed marker."""
    fields = []
    for pair in pairs:
        name, value = pair.split("=", 1)
        if name in ("url", "model", "sampler", "what"):
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
        # The rest of an endless line is dropped, so that it needs no more memory than a long one.
        rest = pieces.pop()[: 4 * LINE_BYTES] if data else b""
        for piece in pieces:
            line = plain(piece.decode("utf-8", "replace"))
            if line:
                write(tag + line[:2000])
        if not data:
            break
    write(f"{tag}{now()} ends")


def now():
    """Return the time in UTC with milliseconds: the log shows that rows ran in parallel."""
    moment = time.time()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{seconds}.{int(moment * 1000) % 1000:03d}Z"


def plain(text):
    """Return the text without escape sequences, control characters and surrounding space."""
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
    """Upload the file to UPLOAD_URL; return the URL at which the bot can read it."""
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
        raise ValueError("the answer to the upload is not a URL")
    return url


def sha256(path):
    """Return the file's SHA-256, 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(url, expected, path):
    """Download a published file. Raises ValueError if its digest differs."""
    if url.startswith("file://"):
        shutil.copyfile(unquote(url[len("file://") :]), path)
    else:
        # The bot gives the URL: http or https.
        answer = urllib.request.urlopen(url, timeout=UPLOAD_SECONDS)  # noqa: S310 - as above
        with answer, open(path, "wb") as out:
            shutil.copyfileobj(answer, out, CHUNK)
    if sha256(path) != expected:
        raise ValueError("the input is not the file that was published")


def crop(path, box):
    """Crop the image to the box."""
    left, top, right, bottom = (int(edge) for edge in box.split(","))
    try:
        from PIL import Image, PngImagePlugin
    except ImportError:
        shape = f"{right - left}x{bottom - top}+{left}+{top}"
        command = ["convert", path, "-crop", shape, "+repage", path]
        subprocess.run(command, check=True)
        return
    # The image program may have added long texts: read them without an error, then drop them.
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = TEXT_BYTES
    with Image.open(path) as picture:
        cut = picture.crop((left, top, right, bottom))
    cut.save(path)


def combine(folder, rows):
    """Stack the existing rows into one grid, publish it, and print the marker ``done``."""
    strips = [os.path.join(folder, f"row-{row:02d}.png") for row in range(1, int(rows) + 1)]
    strips = [strip for strip in strips if os.path.exists(strip)]
    if strips:
        grid = os.path.join(folder, "grid.png")
        try:
            stack(strips, grid)
            publish("grid", grid, "grid.png", f"rows={len(strips)}")
        except Exception as error:
            # The rows are published, so the bot can combine them.
            write(f"publisher: no grid: {type(error).__name__}: {error}", 2)
    mark("done", f"ok={len(strips)}", f"failed={int(rows) - len(strips)}")
    return 0 if strips else 1


def stack(strips, target):
    """Stack the strips from top to bottom, at full resolution."""
    try:
        from PIL import Image
    except ImportError:
        command = ["convert", "-append", *strips, target]
        subprocess.run(command, check=True)
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
