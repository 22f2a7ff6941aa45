/** Draws a message's attachments: one picture large, several in a grid, other files as boxes. */

import { el, safeUrl } from "./dom.js";
import { icon } from "./icons.js";
import { openLightbox } from "./lightbox.js";

const MAX_SIZE = { width: 560, height: 520 };
const SPOILER_FLAG = 8;
const MAX_TILES = 10;

/**
 * @typedef {object} Picture
 * @property {string} url same-origin address of the full picture
 * @property {string} name
 * @property {string} alt
 * @property {number} width in pixels, 0 when unknown
 * @property {number} height in pixels, 0 when unknown
 * @property {boolean} spoiler
 */

/** Whether the attachment is a picture. */
export function isPicture(attachment) {
  if (attachment.content_type) return attachment.content_type.startsWith("image/");
  return Boolean(attachment.width) || /\.(png|jpe?g|webp|gif|avif)$/i.test(attachment.filename);
}

/** @returns {Picture} */
export function pictureOf(attachment) {
  return {
    url: attachment.url,
    name: attachment.filename,
    alt: attachment.description ?? "",
    width: attachment.width ?? 0,
    height: attachment.height ?? 0,
    spoiler: Boolean(attachment.flags & SPOILER_FLAG)
      || attachment.filename.startsWith("SPOILER_"),
  };
}

/**
 * Resolves `attachment://name` of an embed or component.
 * @returns {Picture | null} null when the message has no such file
 */
export function resolveMedia(media, message) {
  if (!media?.url) return null;
  const named = media.url.startsWith("attachment://") ? media.url.slice(13) : null;
  const attachment = (message.attachments ?? []).find(({ id, filename }) =>
    filename === named || (media.attachment_id && id === media.attachment_id));
  const url = named === null ? media.url : attachment?.url;
  if (!safeUrl(url)) return null;
  return {
    url,
    name: attachment?.filename ?? url.split("?")[0].split("/").at(-1),
    alt: media.description ?? attachment?.description ?? "",
    width: media.width || attachment?.width || 0,
    height: media.height || attachment?.height || 0,
    spoiler: Boolean(media.spoiler),
  };
}

/** @param {Picture[]} pictures */
export function mosaic(pictures) {
  const shown = pictures.slice(0, MAX_TILES);
  if (shown.length === 1) return el("div", { class: "mosaic mosaic-1" }, single(shown, 0));
  return el("div", { class: `mosaic mosaic-${shown.length}` },
    shown.map((_, index) => tile(shown, index)));
}

/** A picture in its own proportions; its space is reserved before it has loaded. */
function single(pictures, index) {
  const picture = pictures[index];
  const node = tile(pictures, index);
  if (picture.width && picture.height) {
    const scale = Math.min(
      1, MAX_SIZE.width / picture.width, MAX_SIZE.height / picture.height);
    node.style.width = `${Math.max(96, Math.round(picture.width * scale))}px`;
    node.style.aspectRatio = `${picture.width} / ${picture.height}`;
  } else {
    node.classList.add("unsized");
  }
  return node;
}

function tile(pictures, index) {
  const picture = pictures[index];
  const image = el("img", {
    src: picture.url, alt: picture.alt || picture.name, loading: "lazy", decoding: "async",
    dataset: { picture: picture.url.split("?")[0] },
  });
  const node = el("button", {
    type: "button",
    class: picture.spoiler ? "tile covered" : "tile",
    "aria-label": `Open picture: ${picture.alt || picture.name}`,
    title: picture.alt || null,
    dataset: { focus: `picture-${picture.name}-${index}` },
  }, image, picture.spoiler && el("span", { class: "cover-label" }, "Spoiler"));
  image.addEventListener("error", () => node.classList.add("broken"));
  node.addEventListener("click", () => {
    if (node.classList.contains("covered")) node.classList.remove("covered");
    else openLightbox(pictures, index);
  });
  return node;
}

/** A box for a file that is not a picture. */
export function fileCard(name, url, size) {
  const address = safeUrl(url);
  return el("div", { class: "file-box" },
    el("span", { class: "file-icon" }, icon("file")),
    el("div", { class: "file-text" },
      address === null
        ? el("span", { class: "file-name", text: name })
        : el("a", { class: "file-name", href: address, target: "_blank", rel: "noopener noreferrer",
          text: name }),
      size ? el("span", { class: "file-size", text: sizeText(size) }) : null));
}

function sizeText(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  const kilo = bytes / 1024;
  return kilo < 1024 ? `${kilo.toFixed(1)} KB` : `${(kilo / 1024).toFixed(1)} MB`;
}

/** The attachments of a message without Components V2, except those that an embed shows. */
export function renderAttachments(message) {
  const inEmbeds = new Set((message.embeds ?? [])
    .flatMap(({ image, thumbnail }) => [image?.url, thumbnail?.url])
    .filter((url) => url?.startsWith("attachment://"))
    .map((url) => url.slice(13)));
  const attachments = (message.attachments ?? []).filter(
    ({ filename }) => !inEmbeds.has(filename));
  const pictures = attachments.filter(isPicture).map(pictureOf);
  const files = attachments.filter((attachment) => !isPicture(attachment));
  return [
    pictures.length > 0 && mosaic(pictures),
    ...files.map(({ filename, url, size }) => fileCard(filename, url, size)),
  ];
}
