/**
 * Parses markdown into blocks and draws them as DOM nodes; inline.js handles inline markdown.
 *
 * Blocks: fenced code, `#` to `###` headings, `-# ` subtext, `> ` and `>>> ` quotes, lists and
 * paragraphs.
 */

import { el } from "./dom.js";
import { drawInline, parseInline } from "./inline.js";

const FENCE = /^```(?:([a-zA-Z0-9_+-]+)\n)?\n?([\s\S]+?)\n?```/;
const HEADING = /^(#{1,3}) +(\S.*)$/;
const SUBTEXT = /^-# +(\S.*)$/;
const ITEM = /^( *)([-*]|\d{1,9}[.)]) +(\S.*)$/;

/**
 * @param {string} text
 * @param {boolean} [quoted] quotes do not nest
 * @returns {object[]} the blocks of `text`
 */
export function parseBlocks(text, quoted = false) {
  const blocks = [];
  let rest = text.replace(/\r\n?/g, "\n");
  let paragraph = [];
  const endParagraph = () => {
    if (paragraph.length > 0) blocks.push({ type: "paragraph", text: paragraph.join("\n") });
    paragraph = [];
  };
  while (rest !== "") {
    const fence = FENCE.exec(rest);
    if (fence) {
      endParagraph();
      blocks.push({ type: "code", language: fence[1], text: fence[2] });
      rest = rest.slice(fence[0].length).replace(/^\n/, "");
      continue;
    }
    if (!quoted && rest.startsWith(">>> ")) {
      endParagraph();
      blocks.push({ type: "quote", blocks: parseBlocks(rest.slice(4), true) });
      break;
    }
    const [line, after] = takeLine(rest);
    const heading = HEADING.exec(line);
    const subtext = SUBTEXT.exec(line);
    if (heading) {
      endParagraph();
      blocks.push({ type: "heading", level: heading[1].length, text: heading[2] });
      rest = after;
    } else if (subtext) {
      endParagraph();
      blocks.push({ type: "subtext", text: subtext[1] });
      rest = after;
    } else if (!quoted && line.startsWith("> ")) {
      endParagraph();
      const [lines, remainder] = takeWhile(rest, (each) => each.startsWith("> "));
      const inside = lines.map((each) => each.slice(2)).join("\n");
      blocks.push({ type: "quote", blocks: parseBlocks(inside, true) });
      rest = remainder;
    } else if (ITEM.test(line)) {
      endParagraph();
      const [lines, remainder] = takeWhile(rest, sameList(ITEM.exec(line)));
      blocks.push(parseList(lines.map((each) => ITEM.exec(each))));
      rest = remainder;
    } else {
      // A fence may start in the middle of a line: the text before it is a paragraph.
      const opening = line.indexOf("```");
      if (opening > 0 && FENCE.test(rest.slice(opening))) {
        paragraph.push(line.slice(0, opening));
        rest = rest.slice(opening);
      } else {
        paragraph.push(line);
        rest = after;
      }
    }
  }
  endParagraph();
  return blocks;
}

function takeLine(text) {
  const end = text.indexOf("\n");
  return end < 0 ? [text, ""] : [text.slice(0, end), text.slice(end + 1)];
}

function takeWhile(text, wanted) {
  const lines = [];
  let rest = text;
  while (rest !== "") {
    const [line, after] = takeLine(rest);
    if (!wanted(line)) break;
    lines.push(line);
    rest = after;
  }
  return [lines, rest];
}

const isNumbered = (item) => /\d/.test(item[2]);

/** A list ends where another one, numbered or not, starts at the same depth. */
function sameList(first) {
  return (line) => {
    const item = ITEM.exec(line);
    if (!item) return false;
    return item[1].length > first[1].length || isNumbered(item) === isNumbered(first);
  };
}

/** Deeper indented lines become a list inside the item above them. */
function parseList(matches) {
  const indent = matches[0][1].length;
  const list = { type: "list", ordered: isNumbered(matches[0]), items: [] };
  if (list.ordered) list.start = Number.parseInt(matches[0][2], 10);
  for (let index = 0; index < matches.length;) {
    list.items.push({ text: matches[index][3], list: null });
    const first = index + 1;
    for (index = first; index < matches.length && matches[index][1].length > indent;) index += 1;
    if (index > first) list.items.at(-1).list = parseList(matches.slice(first, index));
  }
  return list;
}

/**
 * @param {string} text the message text
 * @param {import("./inline.js").Names} names resolves mentions
 * @returns {HTMLElement}
 */
export function renderMarkdown(text, names) {
  return el("div", { class: "markdown" }, drawBlocks(parseBlocks(text ?? ""), names));
}

/** Markdown without block structure, for titles and field names. */
export function renderInline(text, names) {
  return el("span", { class: "markdown-inline" }, drawInline(parseInline(text ?? ""), names));
}

function drawBlocks(blocks, names) {
  return blocks.map((block) => drawBlock(block, names));
}

function drawBlock(block, names) {
  const inline = () => drawInline(parseInline(block.text), names);
  switch (block.type) {
    case "code":
      return el("pre", { class: "code-block", tabindex: 0 }, el("code", { text: block.text }));
    case "heading":
      // Message headings start below the page's own.
      return el(`h${block.level + 2}`, { class: `heading heading-${block.level}` }, inline());
    case "subtext":
      return el("p", { class: "subtext" }, inline());
    case "quote":
      return el("blockquote", {}, drawBlocks(block.blocks, names));
    case "list":
      return drawList(block, names);
    default:
      return el("p", {}, inline());
  }
}

function drawList(list, names) {
  return el(list.ordered ? "ol" : "ul", { start: list.start },
    list.items.map((item) => el("li", {},
      drawInline(parseInline(item.text), names),
      item.list && drawList(item.list, names))));
}
