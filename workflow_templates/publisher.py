"""Helper program of the workflows: signed markers, uploads, tagged output, the combined grid.

The job contains it as the environment variable PUBLISHER, and the workflow's steps run it as
``python -c "$PUBLISHER" VERB ...``. It needs only Python 3.7 and its standard library; Pillow or
ImageMagick to combine and to crop, curl to upload over https. It never prints the prompt, the
environment or the key.

    mark KIND key=value ...              print one signed marker line
    relay ROW                            copy stdin to stdout, line by line, tagged "[row ROW] "
    publish KIND FILE NAME key=value ... upload FILE as NAME, then print the marker KIND
    fetch URL SHA256 FILE                download a published file and verify it
    input URL SHA256 FILE                find or download the picture to start from, verify it
    model MODEL URL SHA256 NAME          find or download a model's file, verify it, link it
    crop FILE BOX                        cut FILE down to BOX, "left,top,right,bottom" in pixels
    combine FOLDER ROWS                  stack FOLDER/row-NN.png, publish grid.png, print "done"

A marker is ``@@sd1 <milliseconds> <kind> <key=value ...> mac=<32 hex>``: HMAC-SHA256 over the
text before " mac=", keyed with MAC_KEY, so that neither a prompt nor another job's log line can
forge one. ``url``, ``model``, ``sampler`` and ``what`` are base64.

A job that starts from a picture has its digest in INPUT_SHA256.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
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
KEPT_BYTES = 16384  # of one line that is relayed
LINE_BYTES = 4096  # Linux's PIPE_BUF: writes up to this size to a pipe are atomic


def main(arguments):
    """Run one verb; return the exit status 0, or 1 with a message on stderr."""
    verbs = {
        "mark": mark,
        "relay": relay,
        "publish": publish,
        "fetch": fetch,
        "input": take_input,
        "model": model,
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
        # Only a line's beginning is kept, wherever the pipe has cut it: an endless line needs no
        # more memory than a long one, and nothing is read from the middle of a sequence.
        rest = pieces.pop()[:KEPT_BYTES] if data else b""
        for piece in pieces:
            line = plain(piece[:KEPT_BYTES].decode("utf-8", "replace"))
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
    """Download a file. Raises WrongFile if its digest differs."""
    if url.startswith("file://"):
        shutil.copyfile(unquote(url[len("file://") :]), path)
    else:
        # The bot gives the URL: http or https.
        answer = urllib.request.urlopen(url, timeout=UPLOAD_SECONDS)  # noqa: S310 - as above
        with answer, open(path, "wb") as out:
            shutil.copyfileobj(answer, out, CHUNK)
    actual = sha256(path)
    if actual != expected:
        raise WrongFile(CHOSEN, f"SHA-256 {actual} was downloaded instead of {expected}")


CHOSEN = "is not the one that was chosen"


class WrongFile(Exception):
    """A file that is not the expected one: ``what`` it is for the member, detail for the log."""

    def __init__(self, what, detail):
        super().__init__(detail)
        self.what = what


def take_input(url, expected, path):
    """Write the picture to start from to ``path``; on failure print a marker, return 1.

    The platform has downloaded it to DEEPSQUARE_INPUT; elsewhere it is downloaded here.
    """
    what = "could not be downloaded"
    try:
        found = find_input(os.environ["DEEPSQUARE_INPUT"], expected)
        if found is None:
            fetch(url, expected, path)
        else:
            shutil.copyfile(found, path)
        os.chmod(path, 0o600)
        return 0
    except WrongFile as error:
        what = error.what
        write(f"publisher: the picture: {error}", 2)
    except Exception as error:
        write(f"publisher: the picture {what}: {type(error).__name__}: {error}", 2)
    mark("input-unusable", f"what={what}")
    return 1


def model(name, url, expected, file):
    """Make STORAGE_PATH/model/model.ckpt the model's file; on failure print a marker, return 1.

    The platform has downloaded it to DEEPSQUARE_INPUT, and unpacked it if it is an archive. If it
    has not, the file is downloaded once, into the cache of all jobs, and named NAME there.
    """
    what = "could not be downloaded"
    try:
        path = find_input(os.environ["DEEPSQUARE_INPUT"], expected)
        if path is None:
            path = download(url, expected, file)
        what = "cannot be read"
        link_model(path, os.path.join(os.environ["STORAGE_PATH"], "model"))
        return 0
    except WrongFile as error:
        what = error.what
        write(f"publisher: the model {name}: {error}", 2)
    except Exception as error:
        write(f"publisher: the model {name} {what}: {type(error).__name__}: {error}", 2)
    mark("model-unusable", f"model={name}", f"what={what}")
    return 1


def link_model(path, folder):
    """Put the file and the config.yaml beside it, if any, into the new folder."""
    os.makedirs(folder)
    checkpoint = os.path.join(folder, "model.ckpt")
    if is_safetensors(path) and not os.environ.get("TXT2IMG"):
        write("publisher: converting the model for txt2img.py")
        convert(path, checkpoint)
    else:
        os.symlink(path, checkpoint)
    config = os.path.join(os.path.dirname(path), "config.yaml")
    if os.path.isfile(config):
        os.symlink(config, os.path.join(folder, "config.yaml"))


def find_input(folder, expected):
    """Return the input file with this digest, None if there is no other input at all.

    Raises WrongFile if there are others only; the picture to start from is none of them.
    """
    found = []
    for place, _, names in os.walk(folder):
        found += [os.path.join(place, name) for name in names]
    # The platform also unpacks a checkpoint, which is a ZIP file, into very many small ones.
    found.sort(key=os.path.getsize, reverse=True)
    digest = "none"
    for path in found[:20]:
        actual = sha256(path)
        if actual == expected:
            return path
        if digest == "none" and actual != os.environ.get("INPUT_SHA256"):
            digest = actual
    if digest != "none":
        raise WrongFile(CHOSEN, f"SHA-256 {digest} was downloaded instead of {expected}")
    return None


def download(url, expected, file):
    """Return the cached file of this digest, downloaded first if it is not there."""
    folder = os.path.join(os.environ["DEEPSQUARE_SHARED_TMP"], "models")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, file)
    # Jobs that start together wait for one download.
    with open(path + ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            write("publisher: downloading the model, once")
            part = path + ".part"
            try:
                fetch(url, expected, part)
                os.replace(part, path)
            finally:
                if os.path.exists(part):
                    os.remove(part)
    return path


def is_safetensors(path):
    """Return whether the file is in the safetensors format: a length, then a JSON object."""
    with open(path, "rb") as stream:
        start = stream.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < os.path.getsize(path)


def convert(source, target):
    """Convert a safetensors file to a checkpoint, the only format that txt2img.py reads.

    Format: https://github.com/huggingface/safetensors#format. Raises WrongFile for a LoRA and
    other parts of a model.
    """
    kinds = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    kinds.update({"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"})
    weights = {}
    with open(source, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        if not any(name.startswith("model.diffusion_model.") for name in header):
            raise WrongFile(
                "is not a whole model", "it is no Stable Diffusion checkpoint; a LoRA is none"
            )
        import torch  # in the image of txt2img.py

        for name, entry in header.items():
            if name != "__metadata__":
                start, end = entry["data_offsets"]
                stream.seek(8 + length + start)
                kind = getattr(torch, kinds[entry["dtype"]])
                data = bytearray(stream.read(end - start))
                weights[name] = torch.frombuffer(data, dtype=kind).reshape(entry["shape"])
    torch.save({"state_dict": weights}, target)


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
