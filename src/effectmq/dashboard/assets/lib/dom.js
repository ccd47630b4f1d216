// Elements, made without HTML: what a stranger wrote can only become text.

import { shown } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const REFUSED = /^on|^style$|^srcdoc$/i;

/**
 * An element.
 * @param {string} name Its tag; "svg:rect" for one of SVG.
 * @param {object} [props] Attributes; `on` has listeners by event, `class` and `data-…` as they are,
 *   true is an attribute without a value, false, null and undefined are none.
 * @param {...(Node|string|number|null|undefined|Array)} children Strings become text.
 */
export function h(name, props = {}, ...children) {
  const element = name.startsWith("svg:")
    ? document.createElementNS(SVG, name.slice(4))
    : document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value !== false && value !== null && value !== undefined) {
      set(element, key, value === true ? "" : String(value));
    }
  }
  element.append(...nodes(children));
  return element;
}

function set(element, key, value) {
  if (REFUSED.test(key)) throw new Error(`the attribute ${key} is not set from here`);
  // A link leads to a page of ours, so that no text can become a script.
  if ((key === "href" || key === "action") && !/^(\/(?!\/)|\?|#)/.test(value)) {
    throw new Error(`a link must lead to this server, and ${key} does not`);
  }
  element.setAttribute(key, key === "title" || key === "aria-label" ? shown(value) : value);
}

function* nodes(children) {
  for (const child of children) {
    if (Array.isArray(child)) yield* nodes(child);
    else if (child instanceof Node) yield child;
    else if (child !== null && child !== undefined && child !== false) yield shown(String(child));
  }
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/**
 * Make a list of children agree with new ones, and keep those that did not change, so that focus,
 * selection and what is open stay while a page is refreshed.
 * @param {Element} parent Whose children carry `data-key`.
 * @param {Element[]} wanted The new ones, each with `data-key`.
 */
export function reconcile(parent, wanted) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const element of wanted) {
    const before = old.get(element.dataset.key);
    const kept = before ? renewed(before, element) : element;
    if (before && kept !== before && place === before) place = kept;
    if (kept === place) place = place.nextElementSibling;
    else parent.insertBefore(kept, place);
    old.delete(element.dataset.key);
  }
  for (const child of old.values()) child.remove();
}

// What stands there afterwards. A row is renewed cell by cell, so that a button in it is the same
// one when a click that began before a refresh ends after it.
function renewed(before, element) {
  if (before.isEqualNode(element)) return before;
  const parts = [...element.children];
  const alike = before.tagName === element.tagName && before.children.length === parts.length;
  if (!alike || !onlyElements(before) || !onlyElements(element)) return replaced(before, element);
  for (const { name } of [...before.attributes]) if (!element.hasAttribute(name)) before.removeAttribute(name);
  for (const { name, value } of element.attributes) before.setAttribute(name, value);
  [...before.children].forEach((part, index) => {
    if (!part.isEqualNode(parts[index])) replaced(part, parts[index]);
  });
  return before;
}

function onlyElements(element) {
  return element.childNodes.length === element.children.length;
}

function replaced(before, element) {
  const held = focusPath(before);
  before.replaceWith(element);
  if (held) follow(element, held)?.focus({ preventScroll: true });
  return element;
}

function focusPath(root) {
  let node = document.activeElement;
  if (!node || !root.contains(node)) return null;
  const path = [];
  for (; node !== root; node = node.parentElement) {
    path.unshift([...node.parentElement.children].indexOf(node));
  }
  return path;
}

function follow(root, path) {
  return path.reduce((node, index) => node?.children[index], root);
}

/** The element with an id; it must be there. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element ${id}`);
  return element;
}
