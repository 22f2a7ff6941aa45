/**
 * Builds DOM nodes from text nodes and attributes. Nothing is parsed as HTML, so that user input
 * cannot inject markup.
 */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * @param {string} tag
 * @param {Object<string, any>} [attributes] `on` maps event names to listeners, `dataset` and
 *   `testid` set data attributes, `text` the text; null, undefined and false leave one out.
 * @param {...(Child | Child[])} children
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "dataset") {
      Object.assign(node.dataset, value);
    } else if (name === "testid") {
      node.dataset.testid = value;
    } else if (name === "text") {
      node.textContent = value;
    } else if (name === "value") {
      node.value = value;
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(node, children);
  return node;
}

/**
 * @param {Node} parent
 * @param {(Child | Child[])[]} children
 */
export function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Replaces the children of `node`. */
export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

let counter = 0;

/** An id that is unique on this page. */
export function uniqueId(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}

/** Only http and https URLs become links; `javascript:` and others do not. */
export function safeUrl(address) {
  if (typeof address !== "string" || address === "") return null;
  try {
    const url = new URL(address, location.href);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

/** Converts `0x3355aa`, `"#3355aa"` or nothing to a CSS colour or null. */
export function cssColor(color) {
  if (typeof color === "number" && color > 0) return `#${color.toString(16).padStart(6, "0")}`;
  return typeof color === "string" && /^#[0-9a-f]{3,8}$/i.test(color) ? color : null;
}
