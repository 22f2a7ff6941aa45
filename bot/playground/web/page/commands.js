/**
 * Handles slash commands as data: which ones a member can run in a channel, parsing of typed text,
 * validation of option values, and the interaction's data. It has no DOM and no requests.
 */

export const OptionType = {
  subcommand: 1, group: 2, string: 3, integer: 4, boolean: 5, user: 6, channel: 7, role: 8,
  mentionable: 9, number: 10, attachment: 11,
};
const TYPE_NAMES = {
  3: "text", 4: "whole number", 5: "yes or no", 6: "member", 7: "channel", 8: "role",
  9: "member or role", 10: "number", 11: "file",
};
const MAX_NUMBER = Number.MAX_SAFE_INTEGER;
/** The main command; it is first in the list. */
export const FIRST_COMMAND = "imagine";

/**
 * @typedef {object} CommandEntry a command or subcommand
 * @property {string} name with group and subcommand: "quota-admin set"
 * @property {string[]} path
 * @property {string} description
 * @property {object} command as registered
 * @property {object[]} options
 */

/** Whether `command` can be run in this channel; the server sends only permitted commands. */
export function isOffered(command, store) {
  const { channel } = store;
  const inDirectMessage = channel?.type === 1;
  if (inDirectMessage && (command.guild_id || command.dm_permission === false)) return false;
  if (command.contexts?.length && !command.contexts.includes(inDirectMessage ? 1 : 0)) return false;
  return !command.nsfw || inDirectMessage || isAgeRestricted(channel, store);
}

function isAgeRestricted(channel, store) {
  return Boolean(channel?.nsfw || store.channels.get(channel?.parent_id)?.nsfw);
}

/** @returns {CommandEntry[]} all slash commands and subcommands, by name after the first one */
export function slashEntries(store) {
  return store.commands
    .filter((command) => (command.type ?? 1) === 1 && isOffered(command, store))
    .flatMap((command) => unfold(command, [command.name], command))
    .sort((left, right) => Number(right.name === FIRST_COMMAND)
      - Number(left.name === FIRST_COMMAND) || left.name.localeCompare(right.name));
}

function unfold(node, path, command) {
  const options = node.options ?? [];
  const nested = options.filter(({ type }) => type <= OptionType.group);
  if (nested.length > 0) {
    return nested.flatMap((each) => unfold(each, [...path, each.name], command));
  }
  return [{ name: path.join(" "), path, description: node.description, command, options }];
}

/** The commands of the message menu (type 3) or the member menu (type 2). */
export function menuCommands(store, type) {
  return store.commands.filter((command) => command.type === type && isOffered(command, store));
}

/** @param {CommandEntry[]} entries those that match the text after the slash, best first */
export function filterEntries(entries, typed) {
  const wanted = typed.toLowerCase().trim();
  const rank = (entry) => {
    if (entry.name.startsWith(wanted)) return 0;
    if (entry.path.some((part) => part.startsWith(wanted))) return 1;
    if (entry.name.includes(wanted)) return 2;
    return entry.description.toLowerCase().includes(wanted) && wanted.length > 2 ? 3 : 4;
  };
  return entries.map((entry) => [rank(entry), entry]).filter(([order]) => order < 4)
    .sort(([left], [right]) => left - right).map(([, entry]) => entry);
}

/**
 * Parses "/imagine an astronaut steps: 30": text before the first `name:` belongs to the first
 * option that takes text.
 * @param {CommandEntry[]} entries
 * @returns {{entry: CommandEntry, texts: Map<string, string>, bare: boolean} | null} `bare` when
 *   nothing but the command's name was typed
 */
export function parseTyped(text, entries) {
  if (!text.startsWith("/")) return null;
  const line = text.slice(1).trimStart();
  const entry = entries
    .filter(({ name }) => line === name || line.startsWith(`${name} `))
    .sort((left, right) => right.name.length - left.name.length)[0];
  if (!entry) return null;
  const rest = line.slice(entry.name.length);
  const texts = new Map();
  const names = entry.options.map(({ name }) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pieces = names.length > 0
    ? rest.split(new RegExp(`(?:^|\\s)(${names.join("|")}):\\s*`)) : [rest];
  const first = entry.options.find(({ required }) => required) ?? entry.options[0];
  if (pieces[0].trim() !== "" && first) texts.set(first.name, pieces[0].trim());
  for (let index = 1; index < pieces.length; index += 2) {
    texts.set(pieces[index], (pieces[index + 1] ?? "").trim());
  }
  return { entry, texts, bare: rest.trim() === "" };
}

/** The allowed values of the option, for the help text below it. */
export function describeBounds(option) {
  if (option.choices?.length) return "choose one";
  const parts = [TYPE_NAMES[option.type]];
  const { min_value: min, max_value: max } = option;
  if (min !== undefined && max !== undefined) parts.push(`${min} to ${max}`);
  else if (min !== undefined) parts.push(`at least ${min}`);
  else if (max !== undefined) parts.push(`at most ${max}`);
  if (option.max_length !== undefined) parts.push(`up to ${option.max_length} characters`);
  return parts.join(", ");
}

/**
 * Validates and converts the text of an option.
 * @param {(kind: string, text: string) => string | null} findTarget id of a member, role or
 *   channel by its name or mention
 * @returns {{value?: any, error?: string}} neither when the option is empty
 */
export function readOption(option, text, findTarget) {
  const written = text.trim();
  if (written === "") {
    return option.required ? { error: `${option.name} is needed.` } : {};
  }
  if (option.choices?.length) return readChoice(option, written);
  switch (option.type) {
    case OptionType.integer:
    case OptionType.number:
      return readNumber(option, written);
    case OptionType.boolean:
      return readBoolean(option, written);
    case OptionType.user:
    case OptionType.role:
    case OptionType.channel:
    case OptionType.mentionable:
      return readTarget(option, written, findTarget);
    default:
      return readString(option, written);
  }
}

function readChoice(option, written) {
  const wanted = written.toLowerCase();
  const choice = option.choices.find(({ name, value }) =>
    name.toLowerCase() === wanted || String(value).toLowerCase() === wanted);
  if (choice) return { value: choice.value };
  const names = option.choices.map(({ name }) => name).join(", ");
  return { error: `${option.name} is one of: ${names}.` };
}

function readNumber(option, written) {
  const value = Number(written.replace(",", "."));
  const whole = option.type === OptionType.integer;
  if (!Number.isFinite(value) || (whole && !Number.isInteger(value))
      || Math.abs(value) > MAX_NUMBER) {
    return { error: `${option.name} is a ${whole ? "whole " : ""}number.` };
  }
  const { min_value: min = -Infinity, max_value: max = Infinity } = option;
  if (value >= min && value <= max) return { value };
  return { error: `${option.name} is a ${describeBounds(option).replace(",", ":")}.` };
}

function readBoolean(option, written) {
  if (/^(true|yes|on|1)$/i.test(written)) return { value: true };
  if (/^(false|no|off|0)$/i.test(written)) return { value: false };
  return { error: `${option.name} is True or False.` };
}

function readTarget(option, written, findTarget) {
  const kinds = { 6: "user", 7: "channel", 8: "role", 9: "mentionable" };
  const id = findTarget(kinds[option.type], written);
  if (id !== null) return { value: id };
  return { error: `${option.name}: there is no ${TYPE_NAMES[option.type]} “${written}” here.` };
}

function readString(option, written) {
  const length = [...written].length;
  if (option.max_length !== undefined && length > option.max_length) {
    return {
      error: `${option.name} may have ${option.max_length} characters; this has ${length}.`,
    };
  }
  if (option.min_length !== undefined && length < option.min_length) {
    return { error: `${option.name} needs at least ${option.min_length} characters.` };
  }
  return { value: written };
}

/**
 * The `data` of a command interaction.
 * @param {CommandEntry} entry
 * @param {object[]} options leaves as {name, type, value[, focused]}
 */
export function commandData(entry, options) {
  const nest = ([name, ...deeper], parent) => {
    if (name === undefined) return options;
    const node = parent.options.find((option) => option.name === name);
    return [{ name, type: node.type, options: nest(deeper, node) }];
  };
  return {
    id: entry.command.id,
    name: entry.command.name,
    type: 1,
    options: nest(entry.path.slice(1), entry.command),
  };
}
