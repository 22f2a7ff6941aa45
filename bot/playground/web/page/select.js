/**
 * Draws the select menus of messages and modals: string, user, role, mentionable and channel. A
 * single choice is sent at once, several when the list closes.
 */

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { ChoiceList, openPopover } from "./popover.js";
import { targetsFor } from "./targets.js";

const KINDS = { 5: "user", 6: "role", 7: "mentionable", 8: "channel" };

/** @returns {import("./popover.js").Entry[]} */
function entriesOf(component, store) {
  if (component.type === 3) {
    return component.options.map((option) => ({
      value: option.value, name: option.label, description: option.description,
      icon: option.emoji?.name ? document.createTextNode(option.emoji.name) : null,
      testid: `select-option-${option.value}`,
    }));
  }
  return targetsFor(KINDS[component.type], store, component.channel_types);
}

function initialValues(component) {
  if (component.type === 3) {
    return component.options.filter((option) => option.default).map(({ value }) => value);
  }
  return (component.default_values ?? []).map(({ id }) => id);
}

/**
 * @param {object} component the select's own JSON
 * @param {import("./store.js").Store} store
 * @param {(values: string[]) => void} [changed] called once per completed choice
 * @returns {{node: HTMLElement, values: () => string[]}}
 */
export function createSelect(component, store, changed = () => {}) {
  const min = component.min_values ?? 1;
  const max = component.max_values ?? 1;
  const entries = entriesOf(component, store);
  let values = initialValues(component);
  let popover = null;

  const text = el("span", { class: "select-text" });
  const button = el("button", {
    type: "button", class: "select", role: "combobox", "aria-haspopup": "listbox",
    "aria-expanded": "false", disabled: component.disabled,
    testid: `select-${component.custom_id}`, dataset: { focus: component.custom_id },
  }, text, icon("chevron"));
  const list = new ChoiceList({ label: component.placeholder ?? "Choices", chosen: choose });
  list.moved = () => button.setAttribute("aria-activedescendant", list.activeNode?.id ?? "");

  function showText() {
    const names = entries.filter(({ value }) => values.includes(value)).map(({ name }) => name);
    text.classList.toggle("placeholder", names.length === 0);
    fill(text, names.join(", ") || component.placeholder || "Choose…");
    button.setAttribute("aria-label",
      `${component.placeholder ?? "Choose"}${names.length ? `: ${names.join(", ")}` : ""}`);
  }

  function choose(entry, index) {
    if (max === 1) {
      const again = values[0] === entry.value;
      values = again && min === 0 ? [] : [entry.value];
      showText();
      popover.close();
      changed(values);
      return;
    }
    if (values.includes(entry.value)) values = values.filter((value) => value !== entry.value);
    else if (values.length < max) values = [...values, entry.value];
    list.selected = new Set(values);
    list.show(entries, index);
    showText();
  }

  function open() {
    const before = values.join("\n");
    list.selected = new Set(values);
    list.node.classList.toggle("multiple", max > 1);
    popover = openPopover(button, list.node, {
      wide: true,
      closed: () => {
        popover = null;
        button.setAttribute("aria-expanded", "false");
        button.removeAttribute("aria-activedescendant");
        const different = values.join("\n") !== before;
        if (max > 1 && different && values.length >= min) changed(values);
      },
    });
    list.show(entries, Math.max(0, entries.findIndex(({ value }) => value === values[0])));
    popover.place();
    button.setAttribute("aria-expanded", "true");
    button.setAttribute("aria-controls", list.node.id);
  }

  button.addEventListener("click", () => (popover ? popover.close() : open()));
  button.addEventListener("keydown", (event) => {
    if (!popover) {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        open();
      }
    } else if (event.key === "Escape" || event.key === "Tab") {
      if (event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
      }
      popover.close();
    } else {
      list.key(event);
    }
  });
  showText();
  return { node: button, values: () => values };
}
