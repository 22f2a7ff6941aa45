/**
 * Parses and draws inline markdown: emphasis, code, links, mentions, timestamps, spoilers and
 * escapes. Text is never parsed as HTML.
 */

import { el, safeUrl } from "./dom.js";
import { icon } from "./icons.js";
import { linkTarget } from "./jump.js";
import { timestampElement } from "./time.js";

/**
 * @typedef {object} Names resolves mentions
 * @property {(id: string) => string | null} user
 * @property {(id: string) => string | null} role
 * @property {(id: string) => string | null} channel
 * @property {(id: string) => void} openChannel
 * @property {(name: string) => void} openCommand
 * @property {(id: string, anchor: HTMLElement) => void} openMember
 */

const MARKS = [
  ["***", "strong-em"],
  ["**", "strong"],
  ["__", "underline"],
  ["~~", "strike"],
  ["||", "spoiler"],
  ["*", "em"],
  ["_", "em"],
];

const ADDRESS = String.raw`https?:\/\/(?:[^\s<>()]|\([^\s<>()]*\))+`;
const MASKED = new RegExp(
  String.raw`\[((?:\\.|[^[\]\\]){1,400})\]\(<?(${ADDRESS})>?(?: "[^"\n]*")?\)`, "y");

const RULES = [
  [/\\([^\sa-zA-Z0-9])/y, (match) => ({ type: "text", text: match[1] })],
  [/(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)/y,
    (match) => ({ type: "code", text: match[2].replace(/^ (.*`.*) $/s, "$1") })],
  [/<t:(-?\d{1,13})(?::([tTdDfFR]))?>/y,
    (match) => ({ type: "time", seconds: Number(match[1]), style: match[2] })],
  [/<@!?(\d{1,20})>/y, (match) => ({ type: "user", id: match[1] })],
  [/<@&(\d{1,20})>/y, (match) => ({ type: "role", id: match[1] })],
  [/<#(\d{1,20})>/y, (match) => ({ type: "channel", id: match[1] })],
  [/<\/([^:>\n]{1,98}):\d{1,20}>/y, (match) => ({ type: "command", name: match[1] })],
  [/<a?:(\w{2,32}):\d{1,20}>/y, (match) => ({ type: "text", text: `:${match[1]}:` })],
  [/@(?:everyone|here)\b/y, (match) => ({ type: "everyone", text: match[0] })],
  [MASKED,
    (match) => ({ type: "link", url: match[2], children: parseInline(match[1]) })],
  [/<(https?:\/\/[^\s<>]+)>/y,
    (match) => ({ type: "link", url: match[1], children: [{ type: "text", text: match[1] }] })],
  [/https?:\/\/[^\s<>]+/y, bareLink],
  [/\n/y, () => ({ type: "break" })],
];

/** A full stop or bracket after a bare URL is not part of it. */
function bareLink(match) {
  let url = match[0];
  for (;;) {
    const last = url.at(-1);
    const surplus = last === ")" && url.split(")").length > url.split("(").length;
    if (!surplus && !/[.,:;!?'"*_~|\]]/.test(last)) break;
    url = url.slice(0, -1);
  }
  return { type: "link", url, length: url.length, children: [{ type: "text", text: url }] };
}

/** @returns {object[]} the pieces of `text`, in order */
export function parseInline(text) {
  const pieces = [];
  let plain = "";
  const flush = () => {
    if (plain !== "") pieces.push({ type: "text", text: plain });
    plain = "";
  };
  for (let at = 0; at < text.length;) {
    const found = matchRule(text, at) ?? matchMark(text, at);
    if (found) {
      flush();
      pieces.push(found.piece);
      at += found.length;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  flush();
  return pieces;
}

function matchRule(text, at) {
  for (const [pattern, make] of RULES) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) {
      const piece = make(match);
      return { piece, length: piece.length ?? match[0].length };
    }
  }
  return null;
}

function matchMark(text, at) {
  for (const [mark, type] of MARKS) {
    if (!text.startsWith(mark, at)) continue;
    const start = at + mark.length;
    if (mark === "_" && /\w/.test(text[at - 1] ?? "")) continue;
    if (type === "em" && /\s/.test(text[start] ?? " ")) continue;
    const end = findClosing(text, start, mark);
    if (end < 0) continue;
    return {
      piece: { type, children: parseInline(text.slice(start, end)) },
      length: end + mark.length - at,
    };
  }
  return null;
}

/** The index where `mark` closes; skips escapes, code and longer marks of the same character. */
function findClosing(text, start, mark) {
  const sign = mark[0];
  for (let at = start; at < text.length;) {
    if (text[at] === "\\") {
      at += 2;
    } else if (text[at] === "`") {
      const close = text.indexOf("`", at + 1);
      at = close < 0 ? at + 1 : close + 1;
    } else if (text[at] === sign) {
      let run = 1;
      while (text[at + run] === sign) run += 1;
      const fits = mark.length === 1 ? run % 2 === 1 : run >= mark.length;
      const end = at + run - mark.length;
      const blank = text.slice(start, end).trim() === "";
      const glued = mark === "_" && /\w/.test(text[at + run] ?? "");
      const loose = mark.length === 1 && /\s/.test(text[end - 1]);
      if (fits && !blank && !glued && !loose) return end;
      at += run;
    } else {
      at += 1;
    }
  }
  return -1;
}

/**
 * @param {object[]} pieces
 * @param {Names} names
 * @returns {Node[]}
 */
export function drawInline(pieces, names) {
  return pieces.map((piece) => drawPiece(piece, names));
}

function drawPiece(piece, names) {
  const children = () => drawInline(piece.children, names);
  switch (piece.type) {
    case "text":
      return document.createTextNode(piece.text);
    case "break":
      return el("br");
    case "code":
      return el("code", { class: "code", text: piece.text });
    case "time":
      return timestampElement(piece.seconds, piece.style);
    case "user":
      return memberMention(piece.id, names);
    case "role":
      return mention(`@${names.role(piece.id) ?? "unknown role"}`);
    case "everyone":
      return mention(piece.text);
    case "channel":
      return channelMention(piece.id, names);
    case "command":
      return el("button", {
        type: "button", class: "mention", on: { click: () => names.openCommand(piece.name) },
      }, `/${piece.name}`);
    case "link":
      return link(piece.url, children());
    case "spoiler":
      return spoiler(children());
    case "strong-em":
      return el("strong", {}, el("em", {}, children()));
    default: {
      const tags = { strong: "strong", em: "em", underline: "u", strike: "s" };
      return el(tags[piece.type], {}, children());
    }
  }
}

const mention = (text) => el("span", { class: "mention", text });

function memberMention(id, names) {
  const name = names.user(id);
  if (name === null) return mention("@unknown member");
  const button = el("button", {
    type: "button", class: "mention", "aria-haspopup": "menu", "aria-expanded": "false",
    on: { click: () => names.openMember(id, button) },
  }, `@${name}`);
  return button;
}

function channelMention(id, names) {
  const name = names.channel(id);
  if (name === null) return mention("#unknown channel");
  return el("button", {
    type: "button", class: "mention", on: { click: () => names.openChannel(id) },
  }, icon("hash"), name);
}

/** A link that opens in a new tab, or in this page if it is a message link. */
export function link(url, children, className = "link") {
  const address = safeUrl(url);
  if (address === null) return el("span", {}, children);
  return el("a", { class: className, ...linkTarget(address) }, children);
}

function spoiler(children) {
  const node = el("span", {
    class: "spoiler", role: "button", tabindex: 0, "aria-label": "Hidden text, click to show",
  }, el("span", { "aria-hidden": "true" }, children));
  const show = (event) => {
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    if (node.classList.contains("shown")) return;
    event.preventDefault();
    node.classList.add("shown");
    for (const name of ["role", "tabindex", "aria-label"]) node.removeAttribute(name);
    node.firstChild.removeAttribute("aria-hidden");
  };
  node.addEventListener("click", show);
  node.addEventListener("keydown", show);
  return node;
}
