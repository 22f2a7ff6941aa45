/**
 * Sends the member's actions on the page to the server, as interactions of Discord's protocol.
 */

import { ApiError, InteractionType } from "./api.js";
import { menuCommands } from "./commands.js";
import { icon } from "./icons.js";
import { sourceText } from "./message.js";
import { openModal } from "./modal.js";
import { openMenu } from "./popover.js";
import { showToast } from "./toast.js";

const MENU = { user: 2, message: 3 };

export class Actions {
  /** Set by the page when all parts exist: api, timeline, composer, openChannel, become. */
  page = null;

  /** @param {import("./store.js").Store} store */
  constructor(store) {
    this.store = store;
    /** The message of an interaction, for the modal that it may open. */
    this.origins = new Map();
  }

  async #interact(type, data, more, pending) {
    const channelId = this.store.channelId;
    try {
      const id = await this.page.api.interact(type, channelId, data, more);
      this.origins.set(id, { channelId, messageId: more.message_id });
      if (pending) this.store.addPending(id, { ...pending, channelId });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      showToast(error.message);
      throw error;
    }
  }

  click(message, component) {
    return this.#component(message, component, {});
  }

  select(message, component, values) {
    return this.#component(message, component, { values });
  }

  async #component(message, component, more) {
    for (const [id, entry] of this.store.pending) {
      if (entry.messageId === message.id && entry.failure) this.store.settle(id);
    }
    const data = { custom_id: component.custom_id, component_type: component.type, ...more };
    const pending = {
      kind: "component", label: component.label ?? "", messageId: message.id,
      customId: component.custom_id,
    };
    await this.#interact(InteractionType.component, data, { message_id: message.id }, pending)
      .catch(() => {});
  }

  /**
   * Rejects when the server refused, after saying so.
   * @param {(attach: (file: File) => Promise<string>) => Promise<object>} makeData
   */
  async run(entry, makeData) {
    let data;
    try {
      data = await makeData((file) => this.page.api.attach(file));
    } catch (error) {
      if (error instanceof ApiError) showToast(error.message);
      throw error;
    }
    await this.#interact(InteractionType.command, data, { command_id: entry.command.id },
      { kind: "command", label: `/${entry.name}`, commandName: entry.name });
  }

  async suggest(data) {
    try {
      return await this.page.api.autocomplete(this.store.channelId, data.id, data);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return [];
    }
  }

  async say(text) {
    try {
      await this.page.api.say(this.store.channelId, text);
    } catch (error) {
      showToast(error.message);
      throw error;
    }
  }

  showError(text) {
    showToast(text);
  }

  openChannel(id) {
    this.page.openChannel(id);
  }

  openCommand(name, texts) {
    this.page.composer.openCommand(name, texts);
  }

  become(member) {
    this.page.become(member);
  }

  showMessage(id) {
    this.page.timeline.showMessage(id);
  }

  /** Opens the modal that the bot responded with. */
  showModal(interactionId, modal, context) {
    this.store.settle(interactionId);
    openModal(modal, context, async (makeData) => {
      const data = await makeData((file) => this.page.api.attach(file));
      const origin = this.origins.get(interactionId) ?? { channelId: this.store.channelId };
      const more = { interaction_id: interactionId };
      if (origin.messageId) more.message_id = origin.messageId;
      const id = await this.page.api.interact(InteractionType.modal, origin.channelId, data, more);
      this.store.addPending(id, {
        kind: "modal", label: modal.title, channelId: origin.channelId,
        messageId: origin.messageId, customId: data.custom_id,
      });
    });
  }

  /** The entries of a message's menu: the bot's commands, and copying. */
  messageMenu(message) {
    return [
      ...menuCommands(this.store, MENU.message).map((command) =>
        this.#menuEntry(command, message.id)),
      {
        value: "text", name: "Copy text", icon: icon("copy"),
        run: () => copy(sourceText(message)),
      },
      { value: "id", name: "Copy message ID", icon: icon("copy"), run: () => copy(message.id) },
    ];
  }

  /** The entries of a member's menu: the bot's commands, and acting as that member. */
  memberMenu(member) {
    const entries = menuCommands(this.store, MENU.user).map((command) =>
      this.#menuEntry(command, member.id));
    if (!member.bot && member.id !== this.store.me.id && this.store.members.has(member.id)) {
      entries.push({
        value: "become", name: `Act as ${member.name}`, icon: icon("refresh"),
        run: () => this.become(member),
      });
    }
    entries.push({
      value: "id", name: "Copy member ID", icon: icon("copy"), run: () => copy(member.id),
    });
    return entries;
  }

  /** Open the menu of a member who is named somewhere, below the name. */
  openMember(id, anchor) {
    const member = this.store.members.get(id);
    openMenu(anchor, this.memberMenu(member), member.name);
  }

  #menuEntry(command, targetId) {
    return {
      value: command.id,
      name: command.name,
      icon: icon("spark"),
      testid: `menu-command-${command.name}`,
      run: () => this.#interact(InteractionType.command,
        { id: command.id, name: command.name, type: command.type, target_id: targetId },
        { command_id: command.id },
        { kind: "command", label: command.name, commandName: command.name }).catch(() => {}),
    };
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    showToast("The browser does not allow copying. Select the text instead.");
  }
}
