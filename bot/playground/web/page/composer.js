/**
 * The input for plain messages and slash commands. It validates the input; `actions` sends it.
 */

import { CommandForm } from "./command-form.js";
import { parseTyped, slashEntries } from "./commands.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { CommandPicker } from "./picker.js";
import { placeName } from "./targets.js";

const MAX_CHARS = 2000;
const narrow = matchMedia("(max-width: 760px)");
const touchOnly = matchMedia("(hover: none) and (pointer: coarse)");

export class Composer {
  /**
   * @param {HTMLElement} node
   * @param {import("./store.js").Store} store
   * @param {{say: (text: string) => Promise<void>, suggest: (data: object) => Promise<object[]>,
   *   run: (entry: object, makeData: function) => Promise<void>,
   *   showError: (message: string) => void}} actions the promises reject when sending failed
   */
  constructor(node, store, actions) {
    this.node = node;
    this.store = store;
    this.actions = actions;
    this.form = null;
    this.drafts = new Map();
    this.draftChannel = null;

    this.input = el("textarea", {
      class: "composer-input", testid: "composer-input", rows: 1, maxlength: MAX_CHARS,
      "aria-autocomplete": "list", "aria-haspopup": "listbox", autocomplete: "off", enterkeyhint: "send",
    });
    this.picker = new CommandPicker(store, this.input, (entry) => this.enterCommand(entry));
    this.slash = el("button", {
      type: "button", class: "icon-button composer-slash", "aria-label": "Show the commands",
      title: "Commands", testid: "show-commands",
      on: { click: () => this.#toggleCommands(), pointerdown: (event) => event.preventDefault() },
    }, icon("slash"));
    this.send = el("button", {
      type: "submit", class: "send", "aria-label": "Send", title: "Send", testid: "send",
    }, icon("send"));
    this.slot = el("div", { class: "command-slot" });
    this.box = el("form", { class: "composer-box", novalidate: true, "aria-label": "New message" },
      this.slot,
      el("div", { class: "composer-row" }, this.slash, this.input, this.send));
    fill(node, this.picker.node, this.box);

    this.input.addEventListener("input", () => this.#typed());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.input.addEventListener("blur", () => this.picker.hide());
    this.input.addEventListener("focus", () => this.#showPicker());
    this.box.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.slot.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || event.isComposing) return;
      if (event.key === "Escape") {
        event.preventDefault();
        this.leaveCommand();
      } else if (event.key === "Enter" && event.target.matches("input")) {
        event.preventDefault();
        this.submit();
      }
    });
    store.on("channel", () => this.#changeChannel());
    store.on("world", () => this.#showPlaceholder());
    narrow.addEventListener("change", () => this.#showPlaceholder());
    this.#showSend();
  }

  #changeChannel() {
    if (this.draftChannel === this.store.channelId) return;
    if (this.draftChannel !== null) this.drafts.set(this.draftChannel, this.input.value);
    this.draftChannel = this.store.channelId;
    this.leaveCommand(false);
    this.#setText(this.drafts.get(this.draftChannel) ?? "");
    this.#showPlaceholder();
  }

  #showPlaceholder() {
    const { channel } = this.store;
    if (!channel) return;
    const place = placeName(channel);
    this.input.placeholder = `Message ${place}${narrow.matches ? "" : ", or / for commands"}`;
    this.input.setAttribute("aria-label", `Message ${place}`);
  }

  #setText(text) {
    this.input.value = text;
    this.#grow();
    this.#showSend();
  }

  #grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, 200)}px`;
  }

  #showSend() {
    this.send.classList.toggle("ready", this.form !== null || this.input.value.trim() !== "");
  }

  #typed() {
    this.#grow();
    this.#showSend();
    const text = this.input.value;
    const typed = parseTyped(text, slashEntries(this.store));
    // "/imagine " chooses the command; a pasted line with options waits for Enter.
    if (typed?.bare && text.endsWith(" ")) this.enterCommand(typed.entry);
    else this.#showPicker();
  }

  #showPicker() {
    const text = this.input.value;
    if (this.form === null && /^\/[^\n]*$/.test(text)
        && parseTyped(text, slashEntries(this.store))?.bare !== false) this.picker.show(text);
    else this.picker.hide();
  }

  #toggleCommands() {
    if (this.form !== null) this.leaveCommand();
    if (this.picker.open) {
      this.picker.hide();
      if (this.input.value === "/") this.#setText("");
    } else {
      this.#setText("/");
      this.input.focus();
      this.#showPicker();
    }
  }

  #key(event) {
    if (event.isComposing || this.picker.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !touchOnly.matches) {
      event.preventDefault();
      this.submit();
    }
  }

  /**
   * Turns the composer into the command's form.
   * @param {Map<string, string>} [texts] what the options already hold
   */
  enterCommand(entry, texts = new Map()) {
    this.picker.hide();
    this.#setText("");
    this.form = new CommandForm(entry, {
      store: this.store,
      suggest: (data) => this.actions.suggest(data),
      left: () => this.leaveCommand(),
    });
    fill(this.slot, this.form.node);
    this.form.setTexts(texts);
    this.node.classList.add("in-command");
    this.#showSend();
    if (!this.form.focus()) this.send.focus();
  }

  leaveCommand(focus = true) {
    if (this.form === null) return;
    this.form = null;
    this.slot.replaceChildren();
    this.node.classList.remove("in-command");
    this.#showSend();
    if (focus) this.input.focus();
  }

  /** Opens a command by its name, from a mention or a hint. */
  openCommand(name, texts) {
    const entry = slashEntries(this.store).find((each) => each.name === name);
    if (entry) this.enterCommand(entry, texts);
    else this.actions.showError(`There is no command /${name} here.`);
  }

  async submit() {
    if (this.form !== null) {
      await this.#run();
      return;
    }
    const text = this.input.value.trim();
    if (text === "") return;
    const typed = parseTyped(text, slashEntries(this.store));
    if (typed) {
      this.enterCommand(typed.entry, typed.texts);
      await this.#run();
    } else if (/^\/[\p{L}\p{N}_-]+(\s|$)/u.test(text)) {
      this.actions.showError(`There is no command ${text.split(/\s/)[0]} here. `
        + "Type / to see all commands.");
    } else {
      this.#setText("");
      this.picker.hide();
      try {
        await this.actions.say(text);
      } catch {
        if (this.input.value === "") this.#setText(text);
      }
    }
  }

  async #run() {
    const { form } = this;
    const makeData = form.read();
    if (makeData === null || this.send.disabled) return;
    this.send.disabled = true;
    try {
      await this.actions.run(form.entry, makeData);
      if (this.form === form) this.leaveCommand();
    } catch {
      // The actions have shown the error; the fields keep their values.
    } finally {
      this.send.disabled = false;
    }
  }
}
