/** Draws the sidebar: channels with threads, direct messages, and the member switcher. */

import { avatar } from "./avatar.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { openMenu } from "./popover.js";
import { channelIcon } from "./targets.js";
import { themeToggle } from "./theme.js";

const DIRECT = 1;
const THREADS = [10, 11, 12];

export class Sidebar {
  /**
   * @param {HTMLElement} node
   * @param {import("./store.js").Store} store
   * @param {{openChannel: (id: string) => void, become: (member: object) => void}} actions
   */
  constructor(node, store, actions) {
    this.store = store;
    this.actions = actions;
    this.title = el("div", { class: "guild" });
    this.channels = el("div", { class: "channels" });
    this.me = el("div", { class: "me" });
    fill(node, this.title, this.channels, this.me);
    for (const event of ["world", "channel", "unread"]) store.on(event, () => this.show());
    store.on("world", () => this.#showMe());
  }

  show() {
    const { store } = this;
    fill(this.title,
      el("img", { class: "mark", src: "/page/mark.svg", alt: "" }),
      el("div", {},
        el("h1", { text: store.guild.name }),
        el("p", { text: "Gridbrush playground" })));
    const all = [...store.channels.values()];
    const text = all.filter(({ type }) => type !== DIRECT && !THREADS.includes(type));
    const threads = all.filter(({ type }) => THREADS.includes(type));
    const direct = all.filter(({ type }) => type === DIRECT);
    const focused = document.activeElement?.dataset?.channelId;
    fill(this.channels,
      this.#section("Channels", text.flatMap((channel) => [
        this.#entry(channel),
        ...threads.filter(({ parent_id: parent }) => parent === channel.id)
          .map((thread) => this.#entry(thread)),
      ])),
      direct.length > 0
        && this.#section("Direct messages", direct.map((channel) => this.#entry(channel))));
    if (focused) {
      [...this.channels.querySelectorAll("button")]
        .find((node) => node.dataset.channelId === focused)?.focus({ preventScroll: true });
    }
  }

  #section(name, entries) {
    return el("section", {}, el("h2", { text: name }), el("ul", {},
      entries.map((entry) => el("li", {}, entry))));
  }

  #entry(channel) {
    const open = channel.id === this.store.channelId;
    const unread = this.store.unread.has(channel.id);
    const node = el("button", {
      type: "button", class: "channel", testid: `channel-${channel.name}`,
      dataset: { channelId: channel.id },
      "aria-current": open ? "page" : null,
      title: channel.topic || null,
      on: { click: () => this.actions.openChannel(channel.id) },
    },
    icon(channelIcon(channel)),
    el("span", { class: "channel-name", text: channel.name }),
    channel.nsfw && el("span", { class: "age", title: "Age-restricted", text: "18+" }),
    unread && el("span", { class: "unread", role: "img", "aria-label": "unread messages" }));
    node.classList.toggle("thread", THREADS.includes(channel.type));
    node.classList.toggle("has-unread", unread);
    return node;
  }

  #showMe() {
    const { me, members } = this.store;
    const member = members.get(me.id) ?? me;
    const button = el("button", {
      type: "button", class: "switcher", testid: "member-switcher", "aria-haspopup": "menu",
      "aria-expanded": "false", "aria-label": `You are ${me.name}. Switch member`,
      on: { click: () => this.#openSwitcher(button) },
    },
    avatar(member, "small"),
    el("span", { class: "switcher-text" },
      el("span", { class: "switcher-name" }, me.name,
        me.moderator && el("span", { class: "shield" }, icon("shield", "Moderator"))),
      el("span", { class: "switcher-role", text: me.moderator ? "Moderator" : "Member" })),
    icon("chevron"));
    fill(this.me, button, themeToggle());
  }

  #openSwitcher(button) {
    const people = [...this.store.members.values()].filter(({ bot }) => !bot);
    openMenu(button, people.map((member) => ({
      value: member.id,
      name: member.name,
      icon: avatar(member, "small"),
      description: [
        member.id === this.store.me.id ? "You" : null,
        member.moderator ? "Moderator" : "Member",
      ].filter(Boolean).join(" · "),
      badge: member.moderator ? icon("shield", "Moderator") : null,
      testid: `member-${member.name}`,
      run: () => this.actions.become(member),
    })), "Switch member");
  }
}
