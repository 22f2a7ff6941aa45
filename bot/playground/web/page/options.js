/** The input field of a command option, by the option's type. */

import { createCombobox } from "./combobox.js";
import { OptionType, describeBounds, readOption } from "./commands.js";
import { el, uniqueId } from "./dom.js";
import { icon } from "./icons.js";
import { targetsFor } from "./targets.js";

const MAX_CHOICES = 25;
const TARGETS = {
  [OptionType.user]: "user",
  [OptionType.role]: "role",
  [OptionType.channel]: "channel",
  [OptionType.mentionable]: "mentionable",
};

/**
 * @typedef {object} OptionField
 * @property {object} option as registered
 * @property {HTMLElement} node
 * @property {HTMLInputElement} input
 * @property {() => {value?: any, error?: string}} read
 * @property {() => string} text the field's text, for autocomplete
 * @property {(text: string) => void} setText
 * @property {(message: string | null) => void} showError
 */

/**
 * @param {object} option
 * @param {object} listener
 * @param {import("./store.js").Store} listener.store
 * @param {(text: string) => Promise<object[]>} listener.suggest requests choices from the bot
 * @param {() => void} listener.removed
 * @param {() => void} listener.focused
 * @returns {OptionField}
 */
export function createField(option, listener) {
  const control = createControl(option, listener);
  const helpId = uniqueId("help");
  const { input } = control;
  input.setAttribute("aria-describedby", helpId);
  if (option.required) input.setAttribute("aria-required", "true");
  const remove = option.required ? null : el("button", {
    type: "button", class: "chip-remove", "aria-label": `Remove ${option.name}`, tabindex: -1,
    on: { click: () => listener.removed() },
  }, icon("close"));
  const node = el("div", { class: "option-chip" },
    el("label", { class: "chip-name", for: input.id, text: option.name }),
    control.node ?? input,
    remove,
    el("span", { class: "visually-hidden", id: helpId,
      text: `${option.description}. ${describeBounds(option)}` }));
  node.classList.toggle("wide",
    option.type === OptionType.string && Boolean(option.required) && !option.choices?.length);
  const showError = (message) => {
    node.classList.toggle("invalid", message !== null);
    input.setAttribute("aria-invalid", String(message !== null));
  };
  input.addEventListener("focus", () => listener.focused());
  input.addEventListener("input", () => showError(null));
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Backspace" || input.value !== "" || option.required) return;
    event.preventDefault();
    listener.removed();
  });
  return { option, node, input, showError, ...control };
}

function createControl(option, listener) {
  const { store } = listener;
  if (option.type === OptionType.attachment) return fileControl(option);
  const entries = staticEntries(option, store);
  if (entries !== null || option.autocomplete) {
    const combobox = createCombobox({
      label: option.name,
      placeholder: entries === null ? "Type for suggestions" : "Choose…",
      testid: `option-${option.name}`,
      free: entries === null,
      remote: entries === null,
      source: entries === null
        ? async (text) => (await listener.suggest(text)).map(
          ({ name, value }) => ({ name, value, testid: `choice-${value}` }))
        : (text) => filtered(entries(), text),
      changed: () => listener.changed?.(),
    });
    combobox.input.id = uniqueId("option");
    return {
      input: combobox.input,
      setText: combobox.setText,
      text: () => String(combobox.picked()?.value ?? combobox.input.value),
      read: () => {
        const picked = combobox.picked();
        if (picked !== null) return { value: picked.value };
        return readOption(option, combobox.input.value,
          (kind, text) => findTarget(kind, text, store));
      },
    };
  }
  const numeric = option.type === OptionType.integer || option.type === OptionType.number;
  const input = el("input", {
    type: "text", class: "option-input", id: uniqueId("option"), autocomplete: "off",
    testid: `option-${option.name}`, inputmode: numeric ? "decimal" : null,
    placeholder: numeric ? bounds(option) : option.description,
    enterkeyhint: "send",
  });
  if (numeric) input.classList.add("numeric");
  return {
    input,
    setText: (text) => { input.value = text; },
    text: () => input.value,
    read: () => readOption(option, input.value, () => null),
  };
}

function bounds(option) {
  if (option.min_value === undefined || option.max_value === undefined) return "0";
  return `${option.min_value}–${option.max_value}`;
}

/** A function that returns the option's fixed choices, or null if it has none. */
function staticEntries(option, store) {
  if (option.choices?.length) {
    const entries = option.choices.map(({ name, value }) => (
      { name, value, testid: `choice-${value}` }));
    return () => entries;
  }
  if (option.type === OptionType.boolean) {
    return () => [{ name: "True", value: true }, { name: "False", value: false }];
  }
  const kind = TARGETS[option.type];
  if (!kind) return null;
  return () => targetsFor(kind, store, option.channel_types);
}

function filtered(entries, text) {
  const wanted = text.toLowerCase().replace(/^[@#]/, "").trim();
  return entries.filter(({ name }) => name.toLowerCase().includes(wanted)).slice(0, MAX_CHOICES);
}

/** The id for "Ada", "@Ada", "<@123>" or "123". */
function findTarget(kind, text, store) {
  const entries = targetsFor(kind, store);
  const id = /^<[@#][!&]?(\d+)>$/.exec(text)?.[1] ?? text;
  const name = text.replace(/^[@#]/, "").toLowerCase();
  const found = entries.find(({ value }) => value === id)
    ?? entries.find((entry) => entry.name.toLowerCase() === name);
  return found?.value ?? null;
}

/** A file input; its value is the File until the composer uploads it. */
function fileControl(option) {
  const input = el("input", {
    type: "file", class: "visually-hidden", id: uniqueId("option"), testid: `option-${option.name}`,
  });
  const name = el("span", { text: "Choose a file" });
  input.addEventListener("change", () => {
    name.textContent = input.files[0]?.name ?? "Choose a file";
  });
  const node = el("span", { class: "file-control" }, input,
    el("label", { class: "file-pick", for: input.id }, icon("clip"), name));
  return {
    input,
    node,
    setText: () => {},
    text: () => "",
    read: () => {
      const file = input.files[0];
      if (file) return { value: file };
      return option.required ? { error: `${option.name} is needed.` } : {};
    },
  };
}
