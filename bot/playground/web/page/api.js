/**
 * Calls the server: JSON over the same origin, and one WebSocket for events.
 */

/** An error response of the server; its message is shown to the user. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

function requestOptions(body) {
  if (body === undefined) return { cache: "no-store" };
  if (body instanceof FormData) return { method: "POST", body };
  const headers = { "Content-Type": "application/json" };
  return { method: "POST", headers, body: JSON.stringify(body) };
}

async function request(path, body) {
  let response;
  try {
    response = await fetch(path, requestOptions(body));
  } catch {
    throw new ApiError("The playground does not respond. Is `make play` still running?", 0);
  }
  const text = await response.text();
  let reply = {};
  try {
    reply = text === "" ? {} : JSON.parse(text);
  } catch {
    reply = { message: text };
  }
  if (response.ok) return reply;
  throw new ApiError(reply.message || `The playground responded with status ${response.status}.`,
    response.status);
}

const query = (values) => new URLSearchParams(values).toString();

export const InteractionType = { command: 2, component: 3, autocomplete: 4, modal: 5 };

/** The server's API for one member. */
export class Api {
  /** @param {string | null} me the member's id; null lets the server choose */
  constructor(me) {
    this.me = me;
  }

  world() {
    return request(this.me === null ? "/play/world" : `/play/world?${query({ as: this.me })}`);
  }

  async messages(channel) {
    return (await request(`/play/messages?${query({ as: this.me, channel })}`)).messages;
  }

  say(channel, content) {
    return request("/play/say", { as: this.me, channel_id: channel, content });
  }

  /** Sends a command, component interaction or modal submission; returns the interaction's id. */
  async interact(type, channel, data, more = {}) {
    const body = { as: this.me, channel_id: channel, type, data, ...more };
    return (await request("/play/interactions", body)).id;
  }

  /** Uploads a file for an option or a modal; returns its id, the value in the interaction. */
  async attach(file) {
    const form = new FormData();
    form.append("file", file, file.name);
    return (await request(`/play/attachments?${query({ as: this.me })}`, form)).id;
  }

  async faults() {
    return (await request("/play/faults")).faults;
  }

  /** Starts a fault (`{id, choice}`), stops one (`{id}`) or all (`{}`); returns all faults. */
  async changeFaults(channel, change) {
    return (await request("/play/faults", { as: this.me, channel_id: channel, ...change })).faults;
  }

  async autocomplete(channel, commandId, data) {
    const reply = await request("/play/interactions", {
      as: this.me,
      channel_id: channel,
      type: InteractionType.autocomplete,
      command_id: commandId,
      data,
    });
    return reply.choices ?? [];
  }
}

const FIRST_WAIT = 500;
const MAX_WAIT_MS = 15_000;

/** Delays between attempts: doubling, with jitter so that tabs do not reconnect together. */
export class Backoff {
  #wait = FIRST_WAIT;

  /** @returns {number} milliseconds until the next attempt */
  next() {
    const pause = this.#wait * (0.75 + Math.random() / 2);
    this.#wait = Math.min(this.#wait * 2, MAX_WAIT_MS);
    return pause;
  }

  reset() {
    this.#wait = FIRST_WAIT;
  }
}

/** The event stream of one member, until it is lost or closed. */
export class EventStream {
  #closed = false;

  /**
   * @param {string} me
   * @param {{event: (t: string, d: any) => void, opened: () => void, lost: () => void}} listener
   */
  constructor(me, listener) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(
      `${scheme}//${location.host}/play/socket?${query({ as: me })}`);
    this.socket.addEventListener("open", () => { if (!this.#closed) listener.opened(); });
    this.socket.addEventListener("message", ({ data }) => {
      if (this.#closed) return;
      const { t, d } = JSON.parse(data);
      listener.event(t, d);
    });
    this.socket.addEventListener("close", () => { if (!this.#closed) listener.lost(); });
  }

  close() {
    this.#closed = true;
    this.socket.close();
  }
}
