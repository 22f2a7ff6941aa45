/**
 * Shows the messages of the open channel: updates the nodes from the store, keeps the scroll
 * position at the newest message, and keeps loaded pictures when a message is edited.
 */

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { authorOf, continues, plainText, renderMessage } from "./message.js";
import { channelIcon, placeName } from "./targets.js";
import { dayName } from "./time.js";

const NEAR_END = 80;
const ANNOUNCED_FOR = 3000;

export class Timeline {
  /**
   * @param {HTMLElement} node the scrolling box
   * @param {HTMLElement} announcer where new messages are said to screen readers
   * @param {import("./components.js").Context} context
   */
  constructor(node, announcer, context) {
    this.node = node;
    this.announcer = announcer;
    this.context = context;
    this.store = context.store;
    this.atEnd = true;
    this.missed = 0;
    this.lastTop = 0;
    this.list = el("div", { class: "timeline-list" });
    this.waiting = el("div", { class: "waiting" });
    this.typing = el("p", { class: "typing", "aria-live": "off" });
    this.jump = el("button", {
      type: "button", class: "jump", hidden: true, on: { click: () => this.scrollToEnd() },
    });
    fill(node, this.list, this.waiting, this.jump);
    node.after(this.typing);

    node.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // Pictures that load and messages that grow must not push the newest message out of view.
    const growth = new ResizeObserver(() => { if (this.atEnd) this.scrollToEnd(); });
    growth.observe(this.list);
    growth.observe(this.waiting);
    growth.observe(node);

    this.store.on("channel", () => this.reset());
    this.store.on("messages", (change) => this.#apply(change));
    this.store.on("pending", (entry) => this.#showPending(entry));
    this.store.on("typing", () => this.#showTyping());
  }

  reset() {
    const messages = this.store.messages();
    const nodes = [this.#intro()];
    messages.forEach((message, index) => nodes.push(...this.#draw(message, messages[index - 1])));
    fill(this.list, this.store.isLoaded(this.store.channelId) ? nodes : skeleton());
    this.missed = 0;
    this.#showPending();
    this.#showTyping();
    this.scrollToEnd();
  }

  #apply({ kind, message }) {
    if (kind === "reset") {
      this.reset();
    } else if (kind === "create") {
      this.#create(message);
    } else if (kind === "update") {
      this.#replace(message);
    } else {
      // Grouping and day separators depend on neighbours: draw all again after a removal.
      const place = this.node.scrollTop;
      const atEnd = this.atEnd;
      this.reset();
      if (!atEnd) this.node.scrollTop = place;
    }
    if (kind === "create" || kind === "update") this.#showPending();
  }

  #create(message) {
    const messages = this.store.messages();
    if (messages.at(-1)?.id !== message.id) {
      this.reset();
      return;
    }
    const me = this.store.me?.id;
    const mine = message.author?.id === me || message.interaction_metadata?.user?.id === me;
    for (const node of this.#draw(message, messages.at(-2))) {
      if (node.matches(".message")) node.classList.add("arriving");
      this.list.append(node);
    }
    if (mine || this.atEnd) this.scrollToEnd();
    else this.#showJump(this.missed + 1);
    if (message.author?.id !== me) {
      const { name } = authorOf(message, this.store);
      this.#announce(`${name}: ${plainText(message) || "is thinking"}`);
    }
  }

  #announce(text) {
    fill(this.announcer, text);
    clearTimeout(this.silence);
    // Announced once: if it stayed, screen readers would find it again in the page.
    this.silence = setTimeout(() => this.announcer.replaceChildren(), ANNOUNCED_FOR);
  }

  #replace(message) {
    const old = this.#nodeOf(message.id);
    if (!old) return;
    const fresh = renderMessage(message, old.classList.contains("grouped"), this.context);
    const kept = new Map([...old.querySelectorAll("img[data-picture]")]
      .filter((image) => image.complete && image.naturalWidth > 0)
      .map((image) => [image.dataset.picture, image]));
    for (const image of fresh.querySelectorAll("img[data-picture]")) {
      const loaded = kept.get(image.dataset.picture);
      if (!loaded) continue;
      loaded.alt = image.alt;
      image.replaceWith(loaded);
      kept.delete(image.dataset.picture);
    }
    const focus = old.contains(document.activeElement)
      ? document.activeElement.dataset.focus : undefined;
    old.replaceWith(fresh);
    if (focus !== undefined) {
      [...fresh.querySelectorAll("[data-focus]")]
        .find((node) => node.dataset.focus === focus)?.focus({ preventScroll: true });
    }
  }

  #nodeOf(id) {
    return [...this.list.children].find((node) => node.dataset.messageId === id) ?? null;
  }

  #draw(message, previous) {
    const date = new Date(message.timestamp);
    const newDay = !previous
      || new Date(previous.timestamp).toDateString() !== date.toDateString();
    return [
      ...(newDay ? [el("div", { class: "day", role: "separator" },
        el("span", { text: dayName(date) }))] : []),
      renderMessage(message, !newDay && continues(message, previous), this.context),
    ];
  }

  #intro() {
    const { channel } = this.store;
    if (!channel) return null;
    return el("header", { class: "intro" },
      el("span", { class: "intro-icon" }, icon(channelIcon(channel))),
      el("h2", { text: placeName(channel) }),
      el("p", { text: channel.topic || "This is the start of the channel. All messages stay on "
        + "this machine and is gone when the playground stops." }));
  }

  /** Commands without a response; component interactions are shown on their message. */
  #showPending(changed) {
    const entry = changed;
    if (entry?.messageId) {
      const message = this.store.message(entry.messageId);
      if (message) this.#replace(message);
      return;
    }
    const here = [...this.store.pending].filter(
      ([, each]) => !each.messageId && each.channelId === this.store.channelId);
    fill(this.waiting, here.map(([id, each]) => el("div", {
      class: each.failure ? "pending failed" : "pending", testid: "pending",
      role: each.failure ? "alert" : null,
    },
    each.failure ? icon("alert") : el("span", { class: "spinner", "aria-hidden": "true" }),
    el("p", {}, el("span", { class: "command-tag", text: each.label }),
      el("span", { text: each.failure ?? "Sending…" })),
    each.failure && el("button", {
      type: "button", class: "text-button", on: { click: () => this.store.settle(id) },
    }, "Dismiss"))));
    if (entry && here.length > 0) this.scrollToEnd();
  }

  #showTyping() {
    const names = this.store.typists();
    const who = names.length < 3 ? names.join(" and ") : `${names.length} people`;
    fill(this.typing, names.length > 0 && [
      el("span", { class: "thinking-dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")),
      `${who} ${names.length === 1 ? "is" : "are"} typing…`,
    ]);
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.node;
    // Growing content also moves the end away; only scrolling up stops following.
    if (scrollHeight - scrollTop - clientHeight < NEAR_END) this.atEnd = true;
    else if (scrollTop < this.lastTop - 1) this.atEnd = false;
    this.lastTop = scrollTop;
    if (this.atEnd) this.#showJump(0);
    else this.#showJump(this.missed);
  }

  #showJump(missed) {
    this.missed = missed;
    this.jump.hidden = this.atEnd;
    fill(this.jump, icon("down"), missed > 0 ? `${missed} new` : "Latest");
  }

  scrollToEnd() {
    this.node.scrollTop = this.node.scrollHeight;
    this.atEnd = true;
    this.#showJump(0);
  }

  /** Scrolls to one message and highlights it for a moment. */
  showMessage(id) {
    const node = this.#nodeOf(id);
    if (!node) return;
    node.scrollIntoView({ block: "center" });
    node.classList.remove("lit");
    requestAnimationFrame(() => node.classList.add("lit"));
  }
}

function skeleton() {
  return el("div", { class: "skeleton", "aria-hidden": "true" },
    [70, 45, 60].map((width) => {
      const line = el("span");
      line.style.width = `${width}%`;
      return el("div", {}, el("i"), line);
    }));
}
