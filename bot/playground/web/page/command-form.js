/** The fields of a command's options: required ones first, the others on request. */

import { commandData, describeBounds } from "./commands.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { createField } from "./options.js";

export class CommandForm {
  /**
   * @param {import("./commands.js").CommandEntry} entry
   * @param {object} listener
   * @param {import("./store.js").Store} listener.store
   * @param {(data: object) => Promise<object[]>} listener.suggest
   * @param {() => void} listener.left the member does not want the command any more
   */
  constructor(entry, listener) {
    this.entry = entry;
    this.listener = listener;
    this.fields = [];
    this.row = el("div", { class: "chips" });
    this.more = el("div", { class: "more-options" });
    this.help = el("p", { class: "option-help", "aria-live": "polite" });
    this.node = el("div", { class: "command-form", testid: "command-form" },
      el("div", { class: "command-line" },
        el("span", { class: "command-name", text: `/${entry.name}` }),
        el("span", { class: "command-description", text: entry.description }),
        el("button", {
          type: "button", class: "icon-button", "aria-label": "Cancel the command",
          on: { click: () => listener.left() },
        }, icon("close"))),
      this.row, this.help, this.more);
    for (const option of entry.options) if (option.required) this.#add(option);
    this.#showMore();
  }

  /** @returns {import("./options.js").OptionField} */
  #add(option) {
    const field = createField(option, {
      store: this.listener.store,
      suggest: (text) => this.#suggest(option, text),
      focused: () => this.#showHelp(field, null),
      removed: () => this.#remove(field),
    });
    this.fields.push(field);
    this.row.append(field.node);
    return field;
  }

  #remove(field) {
    const index = this.fields.indexOf(field);
    this.fields.splice(index, 1);
    field.node.remove();
    this.#showMore();
    (this.fields[index - 1] ?? this.fields[0])?.input.focus();
  }

  #showMore() {
    const used = new Set(this.fields.map(({ option }) => option.name));
    const unused = this.entry.options.filter(({ name }) => !used.has(name));
    fill(this.more, unused.map((option) => el("button", {
      type: "button", class: "add-option", testid: `add-option-${option.name}`,
      title: option.description,
      on: {
        click: () => {
          const field = this.#add(option);
          this.#showMore();
          field.input.focus();
        },
      },
    }, icon("plus"), option.name)));
    this.more.hidden = unused.length === 0;
  }

  #showHelp(field, error) {
    this.help.classList.toggle("error", error !== null);
    const text = error ?? `${field.option.description} · ${describeBounds(field.option)}`;
    if (this.help.textContent !== text) fill(this.help, error && icon("alert"), text);
  }

  #suggest(option, text) {
    const others = this.fields
      .filter((field) => field.option !== option)
      .map((field) => ({ ...leaf(field.option), value: field.read().value }))
      .filter(({ value }) => value !== undefined && !(value instanceof File));
    return this.listener.suggest(commandData(this.entry,
      [...others, { ...leaf(option), value: text, focused: true }]));
  }

  /** Fills in the text that was typed before the fields existed. */
  setTexts(texts) {
    for (const [name, text] of texts) {
      const option = this.entry.options.find((each) => each.name === name);
      const field = this.fields.find((each) => each.option === option) ?? this.#add(option);
      field.setText(text);
    }
    this.#showMore();
  }

  /** @returns {boolean} whether there was a field to focus */
  focus() {
    const empty = this.fields.find((field) => field.text() === "") ?? this.fields[0];
    empty?.input.focus();
    return empty !== undefined;
  }

  /**
   * Reads all fields; shows the first mistake and gives null when there is one.
   * @returns {((attach: (file: File) => Promise<string>) => Promise<object>) | null} makes the
   *   interaction's data once `attach` has handed over the files
   */
  read() {
    const options = [];
    let wrong = null;
    for (const field of this.fields) {
      const { value, error } = field.read();
      field.showError(error ?? null);
      if (error && wrong === null) wrong = { field, error };
      if (value !== undefined) options.push({ ...leaf(field.option), value });
    }
    if (wrong === null) {
      return async (attach) => commandData(this.entry, await Promise.all(options.map(
        async (option) => (option.value instanceof File
          ? { ...option, value: await attach(option.value) } : option))));
    }
    wrong.field.input.focus();
    wrong.field.showError(wrong.error);
    this.#showHelp(wrong.field, wrong.error);
    return null;
  }
}

const leaf = ({ name, type }) => ({ name, type });
