/**
 * Popovers with lists and menus. All lists have the same keys: arrow keys, Home and End, Enter,
 * Escape.
 */

import { el, fill, uniqueId } from "./dom.js";

const GAP = 6;

/**
 * Opens `content` below `anchor`, or above it if there is no space below.
 * @param {{closed?: () => void, wide?: boolean, end?: boolean}} [options] `wide` makes it at least
 *   as wide as its anchor, `end` lines up their right edges
 * @returns {{close: () => void, place: () => void}}
 */
export function openPopover(anchor, content, options = {}) {
  const { closed = () => {}, wide = false, end = false } = options;
  const surface = el("div", { class: "popover" }, content);
  // Outside an open dialog everything is inert, so the popover must be inside it.
  (anchor.closest("dialog") ?? document.body).append(surface);
  let open = true;
  const place = () => {
    const box = anchor.getBoundingClientRect();
    surface.style.minWidth = wide ? `${box.width}px` : "";
    surface.style.maxWidth = `${Math.max(220, innerWidth - 16)}px`;
    const below = innerHeight - box.bottom - GAP - 8;
    const above = box.top - GAP - 8;
    const upwards = below < Math.min(surface.scrollHeight, 280) && above > below;
    surface.style.maxHeight = `${Math.max(120, Math.min(upwards ? above : below, 380))}px`;
    const { width, height } = surface.getBoundingClientRect();
    const left = end ? box.right - width : box.left;
    surface.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
    surface.style.top = upwards ? `${box.top - GAP - height}px` : `${box.bottom + GAP}px`;
  };
  const close = () => {
    if (!open) return;
    open = false;
    document.removeEventListener("pointerdown", outside, true);
    removeEventListener("resize", place);
    removeEventListener("scroll", scrolled, true);
    surface.remove();
    closed();
  };
  const outside = (event) => {
    if (!surface.contains(event.target) && !anchor.contains(event.target)) close();
  };
  const scrolled = (event) => {
    if (surface.contains(event.target)) return;
    if (anchor.isConnected) place();
    else close();
  };
  document.addEventListener("pointerdown", outside, true);
  addEventListener("resize", place);
  addEventListener("scroll", scrolled, true);
  place();
  return { close, place };
}

/**
 * @typedef {object} Entry
 * @property {any} value
 * @property {string} name
 * @property {string} [description]
 * @property {Node} [icon]
 * @property {boolean} [disabled]
 * @property {boolean} [danger]
 * @property {string} [testid]
 * @property {Node} [badge] shown after the name
 */

/** A list with one active entry; the focused node passes its key events to `key`. */
export class ChoiceList {
  /**
   * @param {{label: string, role?: string, chosen: (entry: Entry, index: number) => void}} options
   */
  constructor({ label, role = "listbox", chosen }) {
    this.itemRole = role === "menu" ? "menuitem" : "option";
    this.chosen = chosen;
    this.entries = [];
    this.selected = new Set();
    this.active = -1;
    this.node = el("div", { class: "choices", role, "aria-label": label, id: uniqueId("choices") });
  }

  /** @param {Entry[]} entries */
  show(entries, active = 0, emptyText = "No matches") {
    this.entries = entries;
    fill(this.node, entries.length === 0
      ? el("div", { class: "choices-empty", text: emptyText })
      : entries.map((entry, index) => this.#draw(entry, index)));
    this.activate(Math.min(active, entries.length - 1));
  }

  #draw(entry, index) {
    const isSelected = this.selected.has(entry.value);
    return el("div", {
      class: `choice${entry.danger ? " danger" : ""}`,
      role: this.itemRole,
      id: `${this.node.id}-${index}`,
      testid: entry.testid,
      "aria-selected": this.itemRole === "option" ? String(isSelected) : null,
      "aria-disabled": entry.disabled ? "true" : null,
      on: {
        pointermove: () => { if (this.active !== index) this.activate(index, false); },
        // The field that opened the list keeps the focus.
        pointerdown: (event) => event.preventDefault(),
        click: () => this.choose(index),
      },
    },
    entry.icon && el("span", { class: "choice-icon" }, entry.icon),
    el("span", { class: "choice-text" },
      el("span", { class: "choice-name", text: entry.name }, entry.badge),
      entry.description && el("span", { class: "choice-description", text: entry.description })));
  }

  activate(index, scroll = true) {
    this.node.querySelector(".active")?.classList.remove("active");
    this.active = index;
    const node = this.activeNode;
    node?.classList.add("active");
    if (scroll) node?.scrollIntoView({ block: "nearest" });
    this.moved?.(index);
  }

  get activeNode() {
    return this.active < 0 ? null : this.node.children[this.active] ?? null;
  }

  choose(index) {
    const entry = this.entries[index];
    if (entry && !entry.disabled) this.chosen(entry, index);
  }

  /** @returns {boolean} whether the key was meant for the list */
  key(event) {
    const last = this.entries.length - 1;
    if (last < 0) return false;
    const moves = {
      ArrowDown: this.active >= last ? 0 : this.active + 1,
      ArrowUp: this.active <= 0 ? last : this.active - 1,
      PageDown: Math.min(last, this.active + 8),
      PageUp: Math.max(0, this.active - 8),
    };
    if (event.key in moves) this.activate(moves[event.key]);
    else if (event.key === "Enter" && this.active >= 0) this.choose(this.active);
    else return false;
    event.preventDefault();
    return true;
  }
}

/**
 * Opens a menu of actions at its button.
 * @param {HTMLElement} anchor
 * @param {(Entry & {run: () => void})[]} entries
 */
export function openMenu(anchor, entries, label, { end = false } = {}) {
  const list = new ChoiceList({
    label,
    role: "menu",
    chosen: (entry) => {
      popover.close();
      entry.run();
    },
  });
  list.node.tabIndex = -1;
  list.show(entries);
  list.moved = () => list.node.setAttribute("aria-activedescendant", list.activeNode?.id ?? "");
  anchor.setAttribute("aria-expanded", "true");
  const popover = openPopover(anchor, list.node, {
    end,
    closed: () => {
      anchor.setAttribute("aria-expanded", "false");
      if (anchor.isConnected) anchor.focus({ preventScroll: true });
    },
  });
  list.node.addEventListener("keydown", (event) => {
    if (list.key(event)) return;
    if (event.key === "Escape" || event.key === "Tab") {
      event.preventDefault();
      event.stopPropagation();
      popover.close();
    }
  });
  list.activate(0);
  list.node.focus({ preventScroll: true });
}
