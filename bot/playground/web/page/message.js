/** Draws one message: author, time, context, body and actions. */

import { renderAttachments } from "./attachments.js";
import { avatar } from "./avatar.js";
import { renderComponents } from "./components.js";
import { el, fill } from "./dom.js";
import { renderEmbeds } from "./embeds.js";
import { icon } from "./icons.js";
import { renderMarkdown } from "./markdown.js";
import { openMenu } from "./popover.js";
import { MessageFlags } from "./store.js";
import { messageTime } from "./time.js";

const GROUP_SPAN = 7 * 60_000;
const MessageType = { threadCreated: 18, reply: 19, command: 20, contextCommand: 23 };

/** Whether `message` shares the heading of the previous message. */
export function continues(message, previous) {
  if (!previous || previous.author?.id !== message.author?.id) return false;
  if (message.interaction_metadata || message.referenced_message) return false;
  if (isEphemeral(message) !== isEphemeral(previous)) return false;
  if (message.type === MessageType.threadCreated) return false;
  return new Date(message.timestamp) - new Date(previous.timestamp) < GROUP_SPAN;
}

const isEphemeral = (message) => Boolean(message.flags & MessageFlags.ephemeral);

/**
 * @param {object} message Discord's message JSON
 * @param {boolean} grouped whether it has no heading of its own
 * @param {import("./components.js").Context} context
 */
export function renderMessage(message, grouped, context) {
  const author = authorOf(message, context.store);
  const date = new Date(message.timestamp);
  const node = el("article", {
    class: "message", testid: "message",
    dataset: { messageId: message.id, author: author.id },
    "aria-label": `${author.name}, ${messageTime(date)}`,
  });
  node.classList.toggle("grouped", grouped);
  node.classList.toggle("ephemeral", isEphemeral(message));
  node.classList.toggle("mentions-me",
    (message.mentions ?? []).some(({ id }) => id === context.store.me?.id));
  if (message.type === MessageType.threadCreated) {
    node.classList.add("system");
    fill(node, icon("thread"), el("p", {}, el("strong", { text: author.name }),
      " started a thread: ", el("strong", { text: message.content })));
    return node;
  }
  const answers = grouped ? null : renderContextLine(message, context);
  fill(node,
    answers,
    el("div", { class: "gutter" }, grouped
      ? el("time", { class: "gutter-time", datetime: message.timestamp,
        text: new Intl.DateTimeFormat(undefined, { timeStyle: "short" }).format(date) })
      : avatar(author)),
    el("div", { class: "message-main" },
      grouped ? null : renderHeading(message, author, date, context),
      el("div", { class: "message-body" }, renderBody(message, context)),
      renderFoot(message, context)),
    renderTools(message, context));
  return node;
}

/** The author as a member, with the message's data where that has more. */
export function authorOf(message, store) {
  const author = message.author ?? {};
  const member = store.members.get(author.id) ?? {};
  return {
    ...member,
    id: author.id ?? "",
    name: member.name ?? author.global_name ?? author.username ?? "Unknown",
    bot: Boolean(author.bot || member.bot),
  };
}

/** "Ada used /imagine", or the message replied to. */
function renderContextLine(message, { store, actions }) {
  const metadata = message.interaction_metadata ?? message.interaction;
  if (metadata?.user && (message.type === MessageType.command
      || message.type === MessageType.contextCommand)) {
    const name = metadata.name ?? message.interaction?.name ?? store.commandNameOf(metadata.id);
    const user = authorOf({ author: metadata.user }, store);
    return el("div", { class: "context-line" },
      el("span", { class: "context-hook", "aria-hidden": "true" }),
      avatar(user, "tiny"), memberName(user, "name", actions), " used ",
      name
        ? el("span", { class: "command-tag",
          text: message.type === MessageType.command ? `/${name}` : name })
        : "a command");
  }
  const original = message.referenced_message;
  if (message.type !== MessageType.reply && !original) return null;
  if (!original) {
    return el("div", { class: "context-line" },
      el("span", { class: "context-hook", "aria-hidden": "true" }),
      el("em", { text: "Original message was deleted" }));
  }
  const user = authorOf(original, store);
  return el("button", {
    type: "button", class: "context-line", on: { click: () => actions.showMessage(original.id) },
  },
  el("span", { class: "context-hook", "aria-hidden": "true" }),
  avatar(user, "tiny"), el("strong", { text: user.name }),
  el("span", { class: "context-text", text: plainText(original) || "Open the message" }));
}

/** A member's name, which opens their menu. */
function memberName(member, className, actions) {
  const name = el("button", {
    type: "button", class: className, "aria-haspopup": "menu", "aria-expanded": "false",
    on: { click: () => openMenu(name, actions.memberMenu(member), member.name) },
  }, member.name);
  return name;
}

function renderHeading(message, author, date, context) {
  return el("div", { class: "heading-line" },
    memberName(author, "author", context.actions),
    author.bot && el("span", { class: "tag", text: "App" }),
    author.moderator && el("span", { class: "shield", title: "Moderator" },
      icon("shield", "Moderator")),
    el("time", { class: "time", datetime: message.timestamp, title: date.toLocaleString(),
      text: messageTime(date) }));
}

function renderBody(message, context) {
  if (message.flags & MessageFlags.loading) {
    return el("p", { class: "thinking" },
      el("span", { class: "thinking-dots", "aria-hidden": "true" },
        el("i"), el("i"), el("i")),
      `${authorOf(message, context.store).name} is thinking…`);
  }
  if (message.flags & MessageFlags.components) return renderComponents(message, context);
  return [
    message.content ? renderMarkdown(message.content, context.names) : null,
    renderAttachments(message),
    renderEmbeds(message, context.names),
    renderComponents(message, context),
  ];
}

function renderFoot(message, { store, actions }) {
  const failures = [...store.pending].filter(
    ([, entry]) => entry.messageId === message.id && entry.failure);
  return [
    message.edited_timestamp && !(message.flags & MessageFlags.loading)
      && el("span", { class: "edited", title: new Date(message.edited_timestamp).toLocaleString(),
        text: "(edited)" }),
    ...failures.map(([id, entry]) => el("p", { class: "failure" },
      icon("alert"), el("span", { text: entry.failure }),
      el("button", { type: "button", class: "text-button", on: { click: () => store.settle(id) } },
        "Dismiss"))),
    message.thread && el("button", {
      type: "button", class: "thread-link",
      on: { click: () => actions.openChannel(message.thread.id) },
    }, icon("thread"), el("strong", { text: message.thread.name }), "Open thread"),
    isEphemeral(message) && el("p", { class: "only-you" },
      icon("eye"), "Only you can see this",
      el("button", {
        type: "button", class: "text-button", testid: "dismiss",
        on: { click: () => store.dismiss(message.id) },
      }, "Dismiss message")),
  ];
}

function renderTools(message, context) {
  if (isEphemeral(message) || message.flags & MessageFlags.loading) return null;
  const button = el("button", {
    type: "button", class: "icon-button", "aria-label": "Message actions",
    "aria-haspopup": "menu", "aria-expanded": "false", testid: "message-menu",
    dataset: { focus: "menu" },
    on: {
      click: () => openMenu(button, context.actions.messageMenu(message), "Message", { end: true }),
    },
  }, icon("more"));
  return el("div", { class: "message-tools" }, button);
}

/** All text of the message, with its markup. */
export function sourceText(message) {
  const words = [];
  const collect = (components) => {
    for (const component of components ?? []) {
      if (component.content) words.push(component.content);
      collect(component.components);
    }
  };
  if (message.content) words.push(message.content);
  for (const embed of message.embeds ?? []) {
    words.push(embed.title, embed.description,
      ...(embed.fields ?? []).map(({ name, value }) => `${name}: ${value}`), embed.footer?.text);
  }
  collect(message.components);
  return words.filter(Boolean).join("\n");
}

/** The message's text without markup, for screen readers and previews. */
export function plainText(message, limit = 180) {
  const files = (message.attachments ?? []).length > 0 ? " (with a file)" : "";
  const text = sourceText(message)
    .replace(/<[@#:/t][^>]*>|^-# |^#{1,3} |[*`|\\]|__|~~/gm, " ")
    .replace(/\s+/g, " ")
    .trim();
  return (text.length > limit ? `${text.slice(0, limit)}…` : text) + files;
}
