/** Draws the embeds of a message: coloured bar, author, title, text, fields, picture. */

import { mosaic, resolveMedia } from "./attachments.js";
import { cssColor, el, safeUrl } from "./dom.js";
import { link } from "./inline.js";
import { renderInline, renderMarkdown } from "./markdown.js";
import { messageTime } from "./time.js";

/** @param {import("./inline.js").Names} names */
export function renderEmbeds(message, names) {
  return (message.embeds ?? []).map((embed) => renderEmbed(embed, message, names));
}

function renderEmbed(embed, message, names) {
  const thumbnail = resolveMedia(embed.thumbnail, message);
  const image = resolveMedia(embed.image, message);
  const node = el("article", { class: "embed" },
    el("div", { class: "embed-main" },
      el("div", { class: "embed-text" },
        embed.author?.name && el("p", { class: "embed-author" },
          titled(embed.author.name, embed.author.url)),
        embed.title && el("p", { class: "embed-title" },
          embed.url ? link(embed.url, [renderInline(embed.title, names)])
            : renderInline(embed.title, names)),
        embed.description && renderMarkdown(embed.description, names),
        embed.fields?.length > 0 && renderFields(embed.fields, names)),
      thumbnail && el("div", { class: "embed-thumbnail" }, mosaic([thumbnail]))),
    image && mosaic([image]),
    renderFooter(embed));
  const color = cssColor(embed.color);
  if (color) node.style.setProperty("--bar", color);
  return node;
}

function titled(text, url) {
  return safeUrl(url) ? link(url, [text]) : text;
}

function renderFields(fields, names) {
  return el("dl", { class: "embed-fields" }, fields.map((field) => el("div", {
    class: field.inline ? "embed-field inline" : "embed-field",
  },
  el("dt", {}, renderInline(field.name, names)),
  el("dd", {}, renderMarkdown(field.value, names)))));
}

function renderFooter(embed) {
  const parts = [
    embed.footer?.text,
    embed.timestamp && messageTime(new Date(embed.timestamp)),
  ].filter(Boolean);
  return parts.length > 0 && el("p", { class: "embed-footer", text: parts.join(" · ") });
}
