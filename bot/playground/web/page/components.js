/**
 * Draws message components: action rows with buttons and selects, and Components V2 with
 * containers, sections, text, galleries, files and separators.
 */

import { fileCard, mosaic, resolveMedia } from "./attachments.js";
import { cssColor, el, safeUrl } from "./dom.js";
import { icon } from "./icons.js";
import { linkTarget } from "./jump.js";
import { renderMarkdown } from "./markdown.js";
import { createSelect } from "./select.js";

export const ComponentType = {
  row: 1, button: 2, stringSelect: 3, textInput: 4, userSelect: 5, roleSelect: 6,
  mentionableSelect: 7, channelSelect: 8, section: 9, text: 10, thumbnail: 11, gallery: 12,
  file: 13, separator: 14, container: 17, label: 18, fileUpload: 19, radioGroup: 21,
  checkboxGroup: 22, checkbox: 23,
};

export const SELECTS = [3, 5, 6, 7, 8];
const BUTTON_STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "link" };

/**
 * @typedef {object} Context what drawing a message needs
 * @property {import("./store.js").Store} store
 * @property {import("./inline.js").Names} names
 * @property {object} actions
 */

/** @param {Context} context */
export function renderComponents(message, context) {
  return (message.components ?? []).map((each) => renderComponent(each, message, context));
}

function renderComponent(component, message, context) {
  const inner = (each) => renderComponent(each, message, context);
  switch (component.type) {
    case ComponentType.row:
      return el("div", { class: "component-row" }, component.components.map(inner));
    case ComponentType.button:
      return renderButton(component, message, context);
    case ComponentType.text:
      return renderMarkdown(component.content, context.names);
    case ComponentType.section:
      return el("div", { class: "section" },
        el("div", { class: "section-text" }, component.components.map(inner)),
        el("div", { class: "section-accessory" },
          component.accessory && inner(component.accessory)));
    case ComponentType.thumbnail:
      return renderPictures([component], message, "thumbnail");
    case ComponentType.gallery:
      return renderPictures(component.items, message, "gallery");
    case ComponentType.file:
      return renderFile(component, message);
    case ComponentType.separator:
      return el("hr", {
        class: `separator${component.divider === false ? " blank" : ""}${
          component.spacing === 2 ? " wide" : ""}`,
      });
    case ComponentType.container:
      return renderContainer(component, inner);
    default:
      return SELECTS.includes(component.type)
        ? renderSelect(component, message, context)
        : el("p", { class: "subtext", text: `(component of type ${component.type})` });
  }
}

function renderContainer(component, inner) {
  const node = el("div", { class: "container" }, component.components.map(inner));
  const color = cssColor(component.accent_color);
  if (color) node.style.setProperty("--bar", color);
  else node.classList.add("plain");
  if (!component.spoiler) return node;
  node.inert = true;
  const cover = el("button", { type: "button", class: "container-cover" },
    "Spoiler: click to show");
  const covered = el("div", { class: "covered-container" }, node, cover);
  cover.addEventListener("click", () => {
    node.inert = false;
    covered.replaceWith(node);
  });
  return covered;
}

function renderPictures(items, message, className) {
  const pictures = items
    .map((item) => resolveMedia({ ...item.media, description: item.description,
      spoiler: item.spoiler }, message))
    .filter((picture) => picture !== null);
  return pictures.length > 0 && el("div", { class: className }, mosaic(pictures));
}

function renderFile(component, message) {
  const file = resolveMedia(component.file, message);
  if (file === null) return null;
  const attachment = (message.attachments ?? []).find(({ filename }) => filename === file.name);
  return fileCard(component.name ?? file.name, file.url, component.size ?? attachment?.size);
}

function emojiOf(component) {
  const name = component.emoji?.name;
  if (!name) return null;
  const text = component.emoji.id ? `:${name}:` : name;
  const decoration = component.label ? "true" : null;
  return el("span", { class: "button-emoji", "aria-hidden": decoration, text });
}

function renderButton(component, message, context) {
  const style = BUTTON_STYLES[component.style] ?? "secondary";
  const face = [emojiOf(component), component.label && el("span", { text: component.label })];
  const testid = component.label ?? component.emoji?.name ?? component.custom_id;
  if (component.style === 5) {
    const address = safeUrl(component.url);
    const dead = component.disabled || address === null;
    return el("a", {
      class: "button button-link", role: "link", testid,
      ...(dead ? { "aria-disabled": "true" } : linkTarget(address)),
    }, face, icon("external"));
  }
  const busy = [...context.store.pending.values()].some((entry) =>
    entry.messageId === message.id && entry.customId === component.custom_id && !entry.failure);
  return el("button", {
    type: "button", class: `button button-${style}${busy ? " busy" : ""}`, testid,
    disabled: component.disabled, "aria-busy": busy ? "true" : null,
    dataset: { focus: component.custom_id, customId: component.custom_id },
    on: { click: () => { if (!busy) context.actions.click(message, component); } },
  }, face);
}

function renderSelect(component, message, context) {
  const { node } = createSelect(component, context.store,
    (values) => context.actions.select(message, component, values));
  return node;
}
