/** A text field with a list: choices, members, channels, or the bot's autocomplete choices. */

import { el } from "./dom.js";
import { ChoiceList, openPopover } from "./popover.js";

const PAUSE = 220;

/**
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.placeholder
 * @param {string} options.testid
 * @param {(text: string) => import("./popover.js").Entry[] | Promise<object[]>} options.source
 * @param {boolean} [options.free] text that is in no list is allowed
 * @param {boolean} [options.remote] the source is called only after a pause in typing
 * @param {() => void} [options.changed]
 */
export function createCombobox({ label, placeholder, testid, source, free = false, remote = false,
  changed = () => {} }) {
  const input = el("input", {
    type: "text", class: "option-input", role: "combobox", autocomplete: "off",
    "aria-autocomplete": "list", "aria-expanded": "false", "aria-label": label, placeholder, testid,
    spellcheck: "false",
  });
  let picked = null;
  let popover = null;
  let timer = 0;
  let asked = 0;
  const list = new ChoiceList({ label, chosen: pick });
  list.moved = () => {
    const id = list.activeNode?.id;
    if (id) input.setAttribute("aria-activedescendant", id);
    else input.removeAttribute("aria-activedescendant");
  };

  function pick(entry) {
    picked = entry;
    input.value = entry.name;
    close();
    changed();
  }

  function close() {
    clearTimeout(timer);
    asked += 1;
    popover?.close();
  }

  async function refresh() {
    asked += 1;
    const question = asked;
    // After a choice, the whole list is more useful than the filtered one.
    const entries = await source(picked === null ? input.value : "");
    if (question !== asked || document.activeElement !== input) return;
    if (entries.length === 0 && free) {
      popover?.close();
      return;
    }
    if (popover === null) {
      popover = openPopover(input.closest(".option-chip") ?? input, list.node, {
        closed: () => {
          popover = null;
          input.setAttribute("aria-expanded", "false");
          input.removeAttribute("aria-activedescendant");
        },
      });
    }
    input.setAttribute("aria-expanded", "true");
    input.setAttribute("aria-controls", list.node.id);
    list.selected = new Set(picked === null ? [] : [picked.value]);
    list.show(entries, free ? -1 : 0);
    popover.place();
  }

  function refreshSoon() {
    clearTimeout(timer);
    if (remote) timer = setTimeout(refresh, PAUSE);
    else refresh();
  }

  input.addEventListener("focus", refreshSoon);
  input.addEventListener("click", () => { if (popover === null) refreshSoon(); });
  input.addEventListener("blur", close);
  input.addEventListener("input", () => {
    picked = null;
    changed();
    refreshSoon();
  });
  input.addEventListener("keydown", (event) => {
    if (popover === null) {
      if (event.key === "ArrowDown") {
        event.preventDefault();
        refreshSoon();
      }
      return;
    }
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key === "Tab") {
      if (input.value !== "" && picked === null && list.active >= 0) list.choose(list.active);
      close();
    } else if (list.key(event)) {
      event.stopPropagation();
    }
  });
  return {
    input,
    picked: () => picked,
    /** Sets text without choosing an entry. */
    setText: (text) => {
      picked = null;
      input.value = text;
    },
  };
}
