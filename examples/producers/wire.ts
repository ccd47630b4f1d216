/**
 * Envelope, replay key, canonical JSON and hash of a tool call, without effectmq and without AMQP.
 *
 * The same as wire.py beside this file; docs/wire.md says it in words. It needs nothing but Node,
 * which runs it as it is from 22.18 on.
 */

import { createHash } from "node:crypto";

export type Json =
  | null
  | boolean
  | number
  | bigint
  | string
  | Json[]
  | { [name: string]: Json };

/** Where in an agent's work an effect is asked for. The same place gives the same replay key. */
export interface Place {
  session: string;
  turn: string;
  /** Of this effect in its turn, counted from 1 in the order of asking. */
  number: number;
  /** Of the turn in its session. */
  index?: number;
  /** How often the turn has gone round. */
  iteration?: number;
}

export type Envelope = ReturnType<typeof toolCall>;

/** The envelope of one tool call, its members in the order of the wire format. */
export function toolCall(place: Place, callId: string, tool: string, args: Json) {
  const { session, turn, number, index = 0, iteration = 0 } = place;
  const effectId = `${number}:${callId}`;
  return {
    invocation: {
      scope: {
        session_id: session,
        turn_id: turn,
        turn_index: index,
        protocol_iteration: iteration,
      },
      subject: { type: "effect", effect_id: effectId, kind: "tool_call" },
      caused_by: {
        type: "effect",
        session_id: session,
        turn_id: turn,
        effect_id: String(number),
      },
      replay: { key: `${session}:${turn}:${index}:${iteration}:tool_call:${effectId}` },
    },
    command: {
      type: "tool_call",
      call: { call_id: callId, tool_name: tool, args: new Sorted(args) },
    },
  };
}

/**
 * Marks what a caller chose freely: it has no order of its own, and is written sorted. An object of
 * JavaScript cannot be sorted itself, because it has names such as "10" first whatever one does.
 */
class Sorted {
  readonly value: Json;

  constructor(value: Json) {
    this.value = value;
  }
}

/** Compact JSON text as the other side writes it; members stay in order unless told otherwise. */
export function canonical(value: unknown, sorted = false): string {
  if (value instanceof Sorted) return canonical(value.value, true);
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, sorted)).join(",")}]`;
  switch (typeof value) {
    case "string":
      return text(value);
    case "number":
      return number(value);
    case "bigint":
      return integer(value);
    case "boolean":
      return String(value);
    case "object":
      return value === null ? "null" : object(value as Record<string, unknown>, sorted);
    default:
      throw new TypeError(`JSON has no ${typeof value}`);
  }
}

function object(value: Record<string, unknown>, sorted: boolean): string {
  const names = Object.keys(value);
  // By the bytes of UTF-8: the order of JavaScript, by UTF-16, is another one beyond U+FFFF.
  if (sorted) names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return `{${names.map((name) => `${text(name)}:${canonical(value[name], sorted)}`).join(",")}}`;
}

function text(value: string): string {
  if (!value.isWellFormed()) throw new RangeError("half a surrogate pair cannot be sent");
  return JSON.stringify(value);
}

function integer(value: bigint): string {
  if (value < -(2n ** 63n) || value >= 2n ** 64n) {
    throw new RangeError(`${value} does not fit 64 bits; send it as text`);
  }
  return String(value);
}

/** A number without a fraction is an integer as far as it is exact; larger ones take a bigint. */
function number(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError("JSON has no number that is not finite");
  if (Number.isSafeInteger(value)) return String(value);
  const [mantissa = "", after = "0"] = value.toExponential().split("e");
  const exponent = Number(after);
  if (exponent < -5 || exponent > 15) return `${mantissa}e${exponent < 0 ? "" : "+"}${exponent}`;
  const sign = value < 0 ? "-" : "";
  const digits = mantissa.replace("-", "").replace(".", "");
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  return `${sign}${whole}.${digits.slice(exponent + 1) || "0"}`;
}

/** The same JSON with the members of every object sorted, as text. */
export function canonicalSorted(value: Json): string {
  return canonical(value, true);
}

/** What a worker computes as well: SHA-256 of the canonical envelope, in lowercase hex. */
export function hashOf(envelope: Envelope): string {
  return createHash("sha256").update(canonical(envelope)).digest("hex");
}
