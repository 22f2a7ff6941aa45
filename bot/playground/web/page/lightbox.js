/**
 * Shows a picture in a full-screen viewer: fitted or at full size, zoomed with wheel, keys or
 * buttons, moved by dragging; arrow keys show the other pictures of the message.
 */

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";

const MAX_ZOOM = 8;
const STEP = 1.4;

/**
 * @param {import("./attachments.js").Picture[]} pictures
 * @param {number} index the picture to show first
 */
export function openLightbox(pictures, index) {
  const before = document.activeElement;
  const image = el("img", { class: "lightbox-image", draggable: "false" });
  const viewport = el("div", { class: "lightbox-viewport" }, image);
  const caption = el("p", { class: "lightbox-caption" });
  const original = el("a", {
    class: "lightbox-button", target: "_blank", rel: "noopener noreferrer",
    testid: "lightbox-original",
  }, icon("external"), el("span", { text: "Open original" }));
  const zoomText = el("button", {
    type: "button", class: "lightbox-button lightbox-zoom", title: "Fit, or full size (0)",
    testid: "lightbox-zoom",
  });
  const control = (name, label, listener) => el("button", {
    type: "button", class: "lightbox-button", "aria-label": label, title: label,
    on: { click: listener },
  }, icon(name));
  const dialog = el("dialog", { class: "lightbox", testid: "lightbox", "aria-label": "Picture" },
    viewport,
    el("div", { class: "lightbox-bar" },
      caption,
      el("div", { class: "lightbox-tools" },
        control("minus", "Zoom out", () => zoomBy(1 / STEP)),
        zoomText,
        control("plus", "Zoom in", () => zoomBy(STEP)),
        original,
        control("close", "Close", () => dialog.close()))));
  if (pictures.length > 1) {
    viewport.append(arrow("left", "Previous picture", -1), arrow("right", "Next picture", 1));
  }

  let at = index;
  /** Pixels on screen per pixel of the picture; "fit" follows the window. */
  let scale = "fit";
  let offset = { x: 0, y: 0 };

  function arrow(name, label, step) {
    const button = control(name, label, () => show(at + step));
    button.classList.add("lightbox-arrow", `lightbox-${name}`);
    return button;
  }

  function fitScale() {
    if (!image.naturalWidth) return 1;
    return Math.min(1, (viewport.clientWidth - 32) / image.naturalWidth,
      (viewport.clientHeight - 32) / image.naturalHeight);
  }

  function currentScale() {
    return scale === "fit" ? fitScale() : scale;
  }

  function draw() {
    const factor = currentScale();
    const width = image.naturalWidth * factor;
    const height = image.naturalHeight * factor;
    const slackX = Math.max(0, (width - viewport.clientWidth) / 2 + 24);
    const slackY = Math.max(0, (height - viewport.clientHeight) / 2 + 24);
    const within = (value, slack) => Math.max(-slack, Math.min(slack, value));
    offset = width <= viewport.clientWidth && height <= viewport.clientHeight
      ? { x: 0, y: 0 } : { x: within(offset.x, slackX), y: within(offset.y, slackY) };
    image.style.width = `${width}px`;
    image.style.height = `${height}px`;
    image.style.translate = `${offset.x}px ${offset.y}px`;
    fill(zoomText, `${Math.round(factor * 100)} %`);
    const next = scale === "fit" ? "show full size" : "fit";
    zoomText.setAttribute("aria-label",
      `Zoom ${Math.round(factor * 100)} percent, click to ${next}`);
    viewport.classList.toggle("zoomed", scale !== "fit");
  }

  function zoomBy(factor) {
    scale = Math.max(Math.min(fitScale(), 1), Math.min(MAX_ZOOM, currentScale() * factor));
    draw();
  }

  function toggleZoom() {
    if (scale === "fit") scale = fitScale() < 1 ? 1 : 2;
    else scale = "fit";
    offset = { x: 0, y: 0 };
    draw();
  }

  function show(next) {
    at = (next + pictures.length) % pictures.length;
    const picture = pictures[at];
    scale = "fit";
    offset = { x: 0, y: 0 };
    image.alt = picture.alt || picture.name;
    image.src = picture.url;
    original.href = picture.url;
    const place = pictures.length > 1 ? `${at + 1} of ${pictures.length} · ` : "";
    fill(caption, place + (picture.alt || picture.name));
  }

  image.addEventListener("load", draw);
  zoomText.addEventListener("click", toggleZoom);
  followDrag(viewport, image, {
    move: (x, y) => {
      offset = { x: offset.x + x, y: offset.y + y };
      draw();
    },
    tapImage: toggleZoom,
    tapStage: () => dialog.close(),
  });
  viewport.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15);
  }, { passive: false });
  dialog.addEventListener("keydown", (event) => {
    const keys = {
      ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1),
      "+": () => zoomBy(STEP), "=": () => zoomBy(STEP), "-": () => zoomBy(1 / STEP),
      0: toggleZoom,
    };
    keys[event.key]?.();
  });
  const resize = () => draw();
  addEventListener("resize", resize);
  dialog.addEventListener("close", () => {
    removeEventListener("resize", resize);
    dialog.remove();
    before?.focus?.({ preventScroll: true });
  });
  document.body.append(dialog);
  dialog.showModal();
  show(at);
}

/** Distinguishes drags from taps on the viewer. */
function followDrag(viewport, image, listener) {
  let start = null;
  viewport.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    start = { x: event.clientX, y: event.clientY, moved: false, onImage: event.target === image };
    viewport.setPointerCapture(event.pointerId);
  });
  viewport.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const [x, y] = [event.clientX - start.x, event.clientY - start.y];
    if (!start.moved && Math.hypot(x, y) < 5) return;
    listener.move(x, y);
    start = { ...start, x: event.clientX, y: event.clientY, moved: true };
  });
  viewport.addEventListener("pointerup", () => {
    if (start !== null && !start.moved) (start.onImage ? listener.tapImage : listener.tapStage)();
    start = null;
  });
  viewport.addEventListener("pointercancel", () => { start = null; });
}
