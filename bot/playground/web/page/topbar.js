/** Draws the bar above the messages: channel, bot status, and banners. */

import { FIRST_COMMAND } from "./commands.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { remembered } from "./preferences.js";
import { channelIcon, placeName } from "./targets.js";

const TRY = "an astronaut in space";

/**
 * @param {HTMLElement} node
 * @param {import("./store.js").Store} store
 * @param {{toggleDrawer: () => void}} actions
 */
export function showTopbar(node, store, actions) {
  const title = el("div", { class: "topbar-title" });
  const status = el("p", { class: "bot-status", testid: "bot-status" });
  const drawer = el("button", {
    type: "button", class: "icon-button drawer-toggle", testid: "drawer-toggle",
    "aria-label": "Channels", "aria-controls": "sidebar", "aria-expanded": "false",
    on: { click: () => actions.toggleDrawer() },
  }, icon("menu"));
  fill(node, drawer, title, status);
  const show = () => {
    const { channel, bot, botOnline, unread } = store;
    drawer.classList.toggle("has-unread", unread.size > 0);
    if (!channel) return;
    fill(title, icon(channelIcon(channel)),
      el("h2", { text: channel.name }),
      channel.topic && el("p", { class: "topic", text: channel.topic, title: channel.topic }));
    fill(status, el("span", { class: botOnline ? "dot online" : "dot" }),
      el("span", { class: "bot-status-text",
        text: `${bot?.name ?? "Gridbrush"} is ${botOnline ? "online" : "offline"}` }));
    const place = placeName(channel);
    document.title = `${unread.size > 0 ? "• " : ""}${place} · Gridbrush playground`;
  };
  for (const event of ["world", "channel", "status", "unread"]) store.on(event, show);
}

/**
 * @param {HTMLElement} node
 * @param {import("./store.js").Store} store
 * @param {{openCommand: (name: string, texts: Map<string, string>) => void}} actions
 */
export function showBanners(node, store, actions) {
  let welcome = remembered.get("welcomed") !== true;
  const show = () => fill(node,
    !store.connected && el("div", { class: "banner banner-warning", role: "status",
      testid: "banner-lost" },
    el("span", { class: "spinner", "aria-hidden": "true" }),
    el("p", { text: "Connection to the playground lost. Reconnecting…" })),
    store.connected && !store.botOnline && el("div", {
      class: "banner banner-warning", role: "status", testid: "banner-offline",
    },
    icon("alert"),
    el("p", { text: "The bot is offline. Commands get no response until it is online; "
      + "the terminal that runs it says why." })),
    welcome && el("div", { class: "banner banner-welcome", role: "note",
      testid: "banner-welcome" },
    icon("spark"),
    el("p", {}, el("strong", { text: "Nothing here leaves this machine." }), " Try ",
      el("button", {
        type: "button", class: "try", testid: "try-imagine",
        on: { click: () => actions.openCommand(FIRST_COMMAND, new Map([["prompt", TRY]])) },
      }, `/${FIRST_COMMAND} ${TRY}`)),
    el("button", {
      type: "button", class: "icon-button", "aria-label": "Dismiss", testid: "banner-dismiss",
      on: { click: () => dismiss() },
    }, icon("close"))));
  const dismiss = () => {
    welcome = false;
    remembered.set("welcomed", true);
    show();
  };
  store.on("status", show);
  // The hint is not needed after the first command.
  store.on("sent", ({ kind }) => { if (welcome && kind === "command") dismiss(); });
}
