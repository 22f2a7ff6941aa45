/**
 * Holds the page's state: the world as one member sees it, messages of opened channels, unread
 * channels and pending interactions. It emits events about changes and has no DOM or requests.
 *
 * Events: `world`, `channel`, `messages` (detail {kind, message}), `unread`, `status`, `typing`,
 * `sent` (the server accepted an interaction), `pending` (one of them got a response or failed).
 */

export const MessageFlags = { ephemeral: 64, loading: 128, components: 32768 };
const TYPING_LIFE = 10_000;
const PENDING_LIFE = 6_000;

export class Store extends EventTarget {
  me = null;
  members = new Map();
  roles = new Map();
  guild = { id: "", name: "" };
  channels = new Map();
  commands = [];
  botOnline = true;
  connected = true;
  channelId = null;
  unread = new Set();
  typing = new Map();
  /** Interactions without a response, and slash commands whose failure is shown. */
  pending = new Map();
  dismissed = new Set();
  #messages = new Map();
  /** Channels whose messages are loading, with the events since the request. */
  #meanwhile = new Map();
  #settled = new Map();
  #commandNames = new Map();

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  on(type, listener) {
    this.addEventListener(type, (event) => listener(event.detail));
  }

  loadWorld(world) {
    this.me = world.me;
    this.members = new Map(world.members.map((member) => [member.id, member]));
    this.roles = new Map((world.roles ?? world.guild.roles ?? []).map((role) => [role.id, role]));
    this.guild = world.guild;
    this.channels = new Map(world.channels.map((channel) => [channel.id, channel]));
    this.commands = world.commands;
    this.botOnline = world.bot_online;
    this.#tell("world");
    this.#tell("status");
  }

  /** Removes all messages, for another member or after a lost connection. */
  forget() {
    this.#messages.clear();
    this.#meanwhile.clear();
    this.pending.clear();
    this.typing.clear();
  }

  get channel() {
    return this.channels.get(this.channelId) ?? null;
  }

  get bot() {
    return [...this.members.values()].find((member) => member.bot) ?? null;
  }

  openChannel(id) {
    this.channelId = id;
    this.unread.delete(id);
    this.#tell("channel");
    this.#tell("unread");
  }

  isLoaded(channelId) {
    return this.#messages.has(channelId);
  }

  messages(channelId = this.channelId) {
    return (this.#messages.get(channelId) ?? []).filter(({ id }) => !this.dismissed.has(id));
  }

  message(id, channelId = this.channelId) {
    return this.#messages.get(channelId)?.find((message) => message.id === id) ?? null;
  }

  /** Buffers the channel's events until `setMessages`. */
  beginLoading(channelId) {
    this.#meanwhile.set(channelId, []);
  }

  setMessages(channelId, messages) {
    this.#messages.set(channelId, [...messages].sort(bySnowflake));
    for (const message of messages) this.settle(interactionOf(message));
    if (channelId === this.channelId) this.#tell("messages", { kind: "reset" });
    const events = this.#meanwhile.get(channelId) ?? [];
    this.#meanwhile.delete(channelId);
    for (const replay of events) replay();
  }

  addMessage(message) {
    this.#meanwhile.get(message.channel_id)?.push(() => this.addMessage(message));
    this.settle(interactionOf(message));
    this.typing.delete(`${message.channel_id}/${message.author?.id}`);
    this.#tell("typing");
    const kept = this.#messages.get(message.channel_id);
    if (kept?.some(({ id }) => id === message.id)) {
      this.updateMessage(message);
      return;
    }
    if (kept) {
      kept.push(message);
      kept.sort(bySnowflake);
    }
    if (message.channel_id === this.channelId) {
      this.#tell("messages", { kind: "create", message });
    } else if (message.author?.id !== this.me?.id) {
      this.unread.add(message.channel_id);
      this.#tell("unread");
    }
  }

  updateMessage(change) {
    this.#meanwhile.get(change.channel_id)?.push(() => this.updateMessage(change));
    for (const [id, entry] of this.pending) {
      if (entry.messageId === change.id) this.settle(id);
    }
    this.settle(interactionOf(change));
    const kept = this.#messages.get(change.channel_id);
    const index = kept?.findIndex(({ id }) => id === change.id) ?? -1;
    if (index < 0) return;
    kept[index] = { ...kept[index], ...change };
    if (change.channel_id === this.channelId) {
      this.#tell("messages", { kind: "update", message: kept[index] });
    }
  }

  removeMessage(id, channelId) {
    this.#meanwhile.get(channelId)?.push(() => this.removeMessage(id, channelId));
    const kept = this.#messages.get(channelId);
    if (!kept) return;
    this.#messages.set(channelId, kept.filter((message) => message.id !== id));
    if (channelId === this.channelId) {
      this.#tell("messages", { kind: "delete", message: { id, channel_id: channelId } });
    }
  }

  /** Hides an ephemeral message in this page; the server is not told. */
  dismiss(id) {
    this.dismissed.add(id);
    this.#tell("messages", { kind: "delete", message: { id, channel_id: this.channelId } });
  }

  putChannel(channel) {
    this.channels.set(channel.id, { ...this.channels.get(channel.id), ...channel });
    this.#tell("world");
  }

  removeChannel(id) {
    this.channels.delete(id);
    this.#messages.delete(id);
    this.unread.delete(id);
    this.#tell("world");
  }

  setCommands(commands) {
    this.commands = commands;
    this.#tell("world");
  }

  setStatus(change) {
    Object.assign(this, change);
    this.#tell("status");
  }

  setTyping(channelId, userId) {
    const key = `${channelId}/${userId}`;
    clearTimeout(this.typing.get(key));
    this.typing.set(key, setTimeout(() => {
      this.typing.delete(key);
      this.#tell("typing");
    }, TYPING_LIFE));
    this.#tell("typing");
  }

  typists(channelId = this.channelId) {
    return [...this.typing.keys()]
      .filter((key) => key.startsWith(`${channelId}/`))
      .map((key) => this.members.get(key.split("/")[1])?.name)
      .filter(Boolean);
  }

  /**
   * Notes an interaction that was sent. The answer may have overtaken the reply that named its
   * id, so an interaction already settled is not noted again.
   * @param {{kind: string, label: string, channelId: string, messageId?: string,
   *   customId?: string, commandName?: string}} entry
   */
  addPending(id, entry) {
    if (entry.commandName) this.#nameCommand(id, entry);
    this.#tell("sent", entry);
    for (const [other, { kind, failure }] of this.pending) {
      if (kind === "command" && failure) this.settle(other);
    }
    if (this.#settled.has(id)) {
      const failure = this.#settled.get(id);
      if (!failure) return;
      this.pending.set(id, { ...entry, failure });
    } else {
      const timer = setTimeout(() => this.settle(id), PENDING_LIFE);
      this.pending.set(id, { ...entry, failure: null, timer });
    }
    this.#tell("pending", this.pending.get(id));
  }

  /** Adds the command's name to a response that arrived before the interaction's id. */
  #nameCommand(id, { commandName, channelId }) {
    this.#commandNames.set(id, commandName);
    const message = this.#messages.get(channelId)?.find((each) => interactionOf(each) === id);
    if (message && channelId === this.channelId) {
      this.#tell("messages", { kind: "update", message });
    }
  }

  /** The name of a command that this page sent; messages may not contain it. */
  commandNameOf(interactionId) {
    return this.#commandNames.get(interactionId) ?? null;
  }

  /** Removes an interaction that got a response or whose failure was dismissed. */
  settle(id) {
    if (!id) return;
    if (!this.#settled.get(id)) this.#settled.set(id, null);
    const entry = this.pending.get(id);
    if (!entry) return;
    clearTimeout(entry.timer);
    this.pending.delete(id);
    this.#tell("pending", entry);
  }

  failInteraction(id, message) {
    this.#settled.set(id, message);
    const entry = this.pending.get(id);
    if (!entry) return;
    clearTimeout(entry.timer);
    entry.failure = message;
    this.#tell("pending", entry);
  }
}

/** Compares ids as strings: snowflakes are too long for numbers. */
function bySnowflake(left, right) {
  return left.id.length - right.id.length || (left.id < right.id ? -1 : Number(left.id > right.id));
}

function interactionOf(message) {
  return message.interaction_metadata?.id ?? message.interaction?.id ?? null;
}
