/** Starts the page: creates its parts, connects them, and handles the server's events. */

import { Actions } from "./actions.js";
import { Api, ApiError, Backoff, EventStream } from "./api.js";
import { Composer } from "./composer.js";
import { FaultPanel } from "./faults.js";
import { takeJump } from "./jump.js";
import { Timeline } from "./messages.js";
import { tabMemory } from "./preferences.js";
import { Sidebar } from "./sidebar.js";
import { Store } from "./store.js";
import { keepTimesTrue } from "./time.js";
import { showToast } from "./toast.js";
import { showBanners, showTopbar } from "./topbar.js";

const DIRECT = 1;

const byId = (id) => document.getElementById(id);
const store = new Store();
const actions = new Actions(store);
const backoff = new Backoff();
let attempt = 0;
let retry = 0;

/** Resolves the mentions in messages. */
const names = {
  user: (id) => store.members.get(id)?.name ?? null,
  role: (id) => store.roles.get(id)?.name ?? null,
  channel: (id) => store.channels.get(id)?.name ?? null,
  openChannel: (id) => page.openChannel(id),
  openCommand: (name) => actions.openCommand(name),
  openMember: (id, anchor) => actions.openMember(id, anchor),
};
const context = { store, names, actions };

const page = {
  // The URL may name a member, so that two windows can be two members.
  api: new Api(new URLSearchParams(location.search).get("as") ?? tabMemory.get("member")),
  stream: null,
  composer: null,
  timeline: null,

  async openChannel(id) {
    if (!store.channels.has(id)) return;
    setDrawer(false);
    tabMemory.set("channel", id);
    store.openChannel(id);
    await loadMessages(id);
  },

  /** Follows a link to a message, if this member can see it. */
  async jump({ channelId, messageId }) {
    if (!store.channels.has(channelId)) {
      showToast("This message does not exist, or this member cannot see it.");
      return;
    }
    if (channelId !== store.channelId) await page.openChannel(channelId);
    if (messageId) page.timeline.showMessage(messageId);
  },

  become(member) {
    if (member.id === store.me.id) return;
    tabMemory.set("member", member.id);
    page.api = new Api(member.id);
    store.unread.clear();
    // Errors of one member are not shown to another.
    byId("toasts").replaceChildren();
    start();
  },
};
actions.page = page;

async function loadMessages(channelId) {
  if (store.isLoaded(channelId)) return;
  const { api } = page;
  store.beginLoading(channelId);
  try {
    const messages = await api.messages(channelId);
    if (api === page.api) store.setMessages(channelId, messages);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showToast(error.message);
  }
}

/** The channel to open first: the one for pictures. */
function likelyChannel() {
  const channels = [...store.channels.values()].filter(({ type }) => type !== DIRECT);
  return (channels.find(({ name }) => name === "imagine") ?? channels[0])?.id;
}

/** Starts again: the member first, then the event stream, then everything else. */
async function start() {
  attempt += 1;
  const mine = attempt;
  clearTimeout(retry);
  page.stream?.close();
  try {
    const world = await identify();
    if (mine !== attempt) return;
    page.api.me = world.me.id;
    store.forget();
    store.loadWorld(world);
    page.stream = new EventStream(page.api.me, { opened, lost, event: onEvent });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (mine === attempt) lost();
  }
}

/** Loads the world as the current member; forgets a member of an earlier playground. */
async function identify() {
  try {
    return await page.api.world();
  } catch (error) {
    const unknown = error instanceof ApiError && error.status >= 400 && error.status < 500;
    if (!unknown || page.api.me === null) throw error;
    tabMemory.set("member", null);
    page.api = new Api(null);
    return page.api.world();
  }
}

/** Loads everything again: from now on no event is missed. */
async function opened() {
  const { api } = page;
  backoff.reset();
  store.setStatus({ connected: true });
  try {
    const world = await api.world();
    if (api !== page.api) return;
    store.loadWorld(world);
    const wanted = [store.channelId, tabMemory.get("channel"), likelyChannel()];
    await page.openChannel(wanted.find((id) => store.channels.has(id)));
    const jump = takeJump();
    if (jump) await page.jump(jump);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showToast(error.message);
  }
}

function lost() {
  store.setStatus({ connected: false });
  clearTimeout(retry);
  retry = setTimeout(start, backoff.next());
}

function onEvent(type, data) {
  switch (type) {
    case "MESSAGE_CREATE":
      store.addMessage(data);
      break;
    case "MESSAGE_UPDATE":
      store.updateMessage(data);
      break;
    case "MESSAGE_DELETE":
      store.removeMessage(data.id, data.channel_id);
      break;
    case "CHANNEL_CREATE":
    case "CHANNEL_UPDATE":
      store.putChannel(data);
      break;
    case "CHANNEL_DELETE":
      store.removeChannel(data.id);
      if (data.id === store.channelId) page.openChannel(likelyChannel());
      break;
    case "COMMANDS_UPDATE":
      if (Array.isArray(data?.commands ?? data)) store.setCommands(data.commands ?? data);
      else loadCommands();
      break;
    case "BOT_STATUS":
      store.setStatus({ botOnline: data.online });
      break;
    case "TYPING":
      if (data.user_id !== store.me.id) store.setTyping(data.channel_id, data.user_id);
      break;
    case "INTERACTION_ACK":
      store.settle(data.interaction_id);
      break;
    case "INTERACTION_FAILED":
      store.failInteraction(data.interaction_id, data.message ?? "The application did not respond");
      break;
    case "MODAL":
      actions.showModal(data.interaction_id, data.modal, context);
      break;
    default:
      break;
  }
}

async function loadCommands() {
  try {
    store.setCommands((await page.api.world()).commands);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

function setDrawer(open) {
  document.body.classList.toggle("drawer-open", open);
  document.querySelector(".drawer-toggle")?.setAttribute("aria-expanded", String(open));
}

showTopbar(byId("topbar"), store, {
  toggleDrawer: () => setDrawer(!document.body.classList.contains("drawer-open")),
});
new FaultPanel(byId("topbar"), store, () => page.api);
showBanners(byId("banners"), store, actions);
new Sidebar(byId("sidebar"), store, actions);
page.timeline = new Timeline(byId("timeline"), byId("announcer"), context);
page.composer = new Composer(byId("composer"), store, actions);
document.querySelector(".scrim").addEventListener("click", () => setDrawer(false));
addEventListener("keydown", (event) => {
  if (event.key === "Escape") setDrawer(false);
});
addEventListener("online", () => { if (!store.connected) start(); });
addEventListener("hashchange", () => {
  const jump = takeJump();
  if (jump) page.jump(jump);
});
keepTimesTrue();
start();
