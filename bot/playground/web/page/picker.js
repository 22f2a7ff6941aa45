/** The list of slash commands above the composer, filtered by what is typed. */

import { avatar } from "./avatar.js";
import { filterEntries, slashEntries } from "./commands.js";
import { el, fill } from "./dom.js";
import { ChoiceList } from "./popover.js";

export class CommandPicker {
  /**
   * @param {import("./store.js").Store} store
   * @param {HTMLElement} input the field that keeps the focus
   * @param {(entry: import("./commands.js").CommandEntry) => void} chosen
   */
  constructor(store, input, chosen) {
    this.store = store;
    this.input = input;
    this.list = new ChoiceList({
      label: "Commands", chosen: ({ value }) => chosen(value),
    });
    this.list.moved = () => this.#markActive();
    this.heading = el("p", { class: "picker-heading" });
    this.node = el("div", { class: "picker", hidden: true, testid: "command-picker" },
      this.heading, this.list.node);
    input.setAttribute("aria-controls", this.list.node.id);
  }

  get open() {
    return !this.node.hidden;
  }

  /** Shows the commands that match `text`, which starts with a slash; hides if there are none. */
  show(text) {
    const entries = filterEntries(slashEntries(this.store), text.slice(1));
    if (entries.length === 0) {
      this.hide();
      return;
    }
    const bot = this.store.bot ?? { bot: true, name: "Gridbrush" };
    fill(this.heading, avatar(bot, "tiny"),
      text === "/" ? `Commands of ${bot.name}` : `Commands that match ${text}`);
    this.list.show(entries.map((entry) => ({
      value: entry,
      name: `/${entry.name}`,
      description: entry.description,
      testid: `command-${entry.name.replaceAll(" ", "-")}`,
    })));
    [...this.list.node.children].forEach((node, index) => {
      const hints = entries[index].options.filter(({ required }) => required)
        .map(({ name }) => el("span", { class: "option-hint", text: name }));
      node.querySelector(".choice-name").append(...hints);
    });
    this.node.hidden = false;
    this.#markActive();
  }

  #markActive() {
    const id = this.list.activeNode?.id;
    if (this.open && id) this.input.setAttribute("aria-activedescendant", id);
  }

  hide() {
    this.node.hidden = true;
    this.input.removeAttribute("aria-activedescendant");
  }

  /** @returns {boolean} whether the key was for the list */
  key(event) {
    if (!this.open) return false;
    if (event.key === "Escape") {
      event.preventDefault();
      this.hide();
      return true;
    }
    if (event.key === "Tab" && !event.shiftKey) {
      event.preventDefault();
      this.list.choose(this.list.active);
      return true;
    }
    return this.list.key(event);
  }
}
