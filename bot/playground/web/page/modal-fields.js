/** Draws the fields of a modal and builds the components of its submission. */

import { ComponentType, SELECTS } from "./components.js";
import { el, uniqueId } from "./dom.js";
import { renderMarkdown } from "./markdown.js";
import { createSelect } from "./select.js";

const MAX_TEXT_CHARS = 4000;

/**
 * @typedef {object} ModalField
 * @property {HTMLElement} node
 * @property {() => string | null} check the error, or null
 * @property {(attach: (file: File) => Promise<string>) => Promise<object>} submitted the
 *   component of the submission
 * @property {() => void} focus
 */

/**
 * @param {object} top one of the modal's top-level components
 * @param {import("./components.js").Context} context
 * @returns {ModalField}
 */
export function createModalField(top, context) {
  const id = top.id === undefined ? {} : { id: top.id };
  if (top.type === ComponentType.text) {
    return {
      node: renderMarkdown(top.content, context.names), check: () => null, focus: null,
      submitted: async () => ({ type: top.type, ...id }),
    };
  }
  const component = top.type === ComponentType.label ? top.component : top.components[0];
  const inner = createInner(component, context);
  const label = top.label ?? component.label ?? component.custom_id;
  const error = el("p", { class: "field-error", id: uniqueId("error"), "aria-live": "polite" });
  const required = component.required !== false && component.type !== ComponentType.checkbox;
  const description = top.description && el("p", { class: "field-description",
    id: uniqueId("description"), text: top.description });
  inner.target.id ||= uniqueId("field");
  inner.target.setAttribute("aria-describedby",
    [description?.id, error.id].filter(Boolean).join(" "));
  const group = !["INPUT", "TEXTAREA"].includes(inner.target.tagName);
  const labelNode = el(group ? "span" : "label", {
    class: "field-label", id: uniqueId("label"), for: group ? null : inner.target.id,
  }, label, required && el("span", { class: "required", "aria-hidden": "true", text: " *" }));
  if (group) inner.target.setAttribute("aria-labelledby", labelNode.id);
  const node = el("div", { class: "field" }, labelNode, description, inner.node, error);
  const submitted = async (attach) => {
    const filled = {
      type: component.type, custom_id: component.custom_id, ...await inner.value(attach),
    };
    if (component.id !== undefined) filled.id = component.id;
    return top.type === ComponentType.label
      ? { type: top.type, ...id, component: filled }
      : { type: top.type, ...id, components: [filled] };
  };
  const check = () => {
    const problem = inner.check(required);
    error.textContent = problem ?? "";
    node.classList.toggle("invalid", problem !== null);
    inner.target.setAttribute("aria-invalid", String(problem !== null));
    return problem;
  };
  return { node, check, submitted, focus: () => (inner.first ?? inner.target).focus() };
}

function createInner(component, context) {
  if (component.type === ComponentType.textInput) return textInput(component);
  if (SELECTS.includes(component.type)) return select(component, context);
  switch (component.type) {
    case ComponentType.radioGroup:
    case ComponentType.checkboxGroup:
      return optionGroup(component);
    case ComponentType.checkbox:
      return checkbox(component);
    case ComponentType.fileUpload:
      return fileUpload(component);
    default: {
      const node = el("p", { class: "subtext", text: "This page does not support this field." });
      return { node, target: node, value: () => ({ values: [] }), check: () => null };
    }
  }
}

function textInput(component) {
  const paragraph = component.style === 2;
  const target = el(paragraph ? "textarea" : "input", {
    class: "text-field", type: paragraph ? null : "text", rows: paragraph ? 4 : null,
    placeholder: component.placeholder, value: component.value ?? "", autocomplete: "off",
    maxlength: component.max_length ?? MAX_TEXT_CHARS, testid: `field-${component.custom_id}`,
  });
  const count = el("span", { class: "count", "aria-hidden": "true" });
  const max = component.max_length ?? MAX_TEXT_CHARS;
  const showCount = () => { count.textContent = `${target.value.length} / ${max}`; };
  target.addEventListener("input", showCount);
  showCount();
  return {
    node: el("div", { class: "text-field-box" }, target, component.max_length ? count : null),
    target,
    value: () => ({ value: target.value }),
    check: (required) => {
      const { length } = target.value;
      if (length === 0) return required ? "This field is required." : null;
      const min = component.min_length ?? 0;
      return length < min ? `At least ${min} characters; this has ${length}.` : null;
    },
  };
}

function select(component, context) {
  const { node, values } = createSelect(component, context.store);
  return {
    node,
    target: node,
    value: () => ({ values: values() }),
    check: (required) => {
      const min = required ? component.min_values ?? 1 : 0;
      if (values().length >= min) return null;
      return min === 1 ? "Choose one." : `Choose at least ${min}.`;
    },
  };
}

function optionGroup(component) {
  const single = component.type === ComponentType.radioGroup;
  const name = uniqueId("group");
  const inputs = component.options.map((option) => {
    const input = el("input", {
      type: single ? "radio" : "checkbox", name, value: option.value,
      testid: `field-${component.custom_id}-${option.value}`,
    });
    input.checked = Boolean(option.default);
    return input;
  });
  const target = el("div", { class: "option-group", role: single ? "radiogroup" : "group" },
    component.options.map((option, index) => el("label", { class: "option-line" }, inputs[index],
      el("span", {}, el("span", { text: option.label }),
        option.description
          && el("span", { class: "choice-description", text: option.description })))));
  const chosen = () => inputs.filter(({ checked }) => checked).map(({ value }) => value);
  const max = component.max_values ?? inputs.length;
  return {
    node: target,
    target,
    first: inputs[0],
    value: () => (single ? { value: chosen()[0] ?? null } : { values: chosen() }),
    check: (required) => {
      const min = required ? component.min_values ?? 1 : 0;
      if (chosen().length < min) return `Choose at least ${min}.`;
      return !single && chosen().length > max ? `Choose at most ${max}.` : null;
    },
  };
}

function checkbox(component) {
  const target = el("input", { type: "checkbox", testid: `field-${component.custom_id}` });
  target.checked = Boolean(component.default);
  return { node: target, target, value: () => ({ value: target.checked }), check: () => null };
}

function fileUpload(component) {
  const max = component.max_values ?? 1;
  const target = el("input", {
    type: "file", class: "file-field", multiple: max > 1, testid: `field-${component.custom_id}`,
  });
  return {
    node: target,
    target,
    value: async (attach) => ({ values: await Promise.all([...target.files].map(attach)) }),
    check: (required) => {
      const min = required ? component.min_values ?? 1 : 0;
      if (target.files.length < min) {
        return min === 1 ? "Choose a file." : `Choose at least ${min} files.`;
      }
      return target.files.length > max ? `Choose at most ${max} files.` : null;
    },
  };
}
