/**
 * A producer that knows amqplib and not effectmq: one tool call, and its outcome.
 *
 *     npm install --prefix examples/producers
 *     export EFFECTMQ_BROKER=amqp://guest:guest@localhost/
 *     node examples/producers/producer_amqplib.ts add '{"a": 1, "b": 2}'
 *
 * It prints the outcome as JSON. Exit code: 0 for an outcome, 1 when the effect failed or none came.
 */

import amqp from "amqplib";
import type { ConfirmChannel, ConsumeMessage, Message } from "amqplib";
import { canonical, hashOf, toolCall } from "./wire.ts";
import type { Envelope, Json } from "./wire.ts";

const WEEK_MS = 7 * 24 * 3_600_000;
const PATIENCE_MS = 30_000;

interface Answer {
  effect_id: string;
  replay_key: string;
  hash: string;
  attempt: number;
  replayed: boolean;
  result: { Ok: Json } | { Err: { code: string; message: string } };
}

/**
 * Declare the queue for answers, and say its name.
 *
 * It is durable and named after this producer, so that a producer that was restarted finds what came
 * meanwhile. The arguments are those that effectmq's own client declares.
 */
async function replyQueue(channel: ConfirmChannel, namespace: string, identity: string) {
  const name = `${namespace}.reply.${identity}`;
  await channel.assertQueue(name, {
    durable: true,
    arguments: {
      "x-queue-type": "quorum",
      "x-delivery-limit": 2 ** 31 - 1,
      "x-expires": WEEK_MS,
    },
  });
  return name;
}

/** Publish one effect; the promise is kept when the broker has it on disk. */
async function submit(
  channel: ConfirmChannel,
  namespace: string,
  envelope: Envelope,
  replyTo: string,
) {
  const { kind, effect_id } = envelope.invocation.subject;
  let returned: Message | undefined;
  // What no queue wanted comes back before its confirmation.
  channel.once("return", (message: Message) => {
    returned = message;
  });
  channel.publish(`${namespace}.work`, kind, Buffer.from(canonical(envelope)), {
    contentType: "application/json",
    persistent: true,
    type: "effect.envelope.v1",
    correlationId: effect_id,
    replyTo,
    headers: { "effect-hash": hashOf(envelope) },
    // Without it a kind that no worker has ever served would be dropped without a word.
    mandatory: true,
  });
  await channel.waitForConfirms();
  if (returned) throw new Error(`no worker has ever served ${kind} in the namespace ${namespace}`);
}

/** Take answers out of the queue until that of the envelope is among them. */
function waitFor(channel: ConfirmChannel, queue: string, envelope: Envelope): Promise<Answer> {
  return new Promise((found, failed) => {
    const timer = setTimeout(
      // The effect may still be carried out; the answer waits in the queue then.
      () => failed(new Error(`no outcome within ${PATIENCE_MS / 1000} s`)),
      PATIENCE_MS,
    );
    const take = (message: ConsumeMessage | null) => {
      try {
        if (message === null) throw new Error("the broker took the reply queue away");
        const answer = matching(message, envelope);
        // Answers may come twice, and those to earlier questions may still be here.
        channel.ack(message);
        if (answer) {
          clearTimeout(timer);
          found(answer);
        }
      } catch (problem) {
        clearTimeout(timer);
        failed(problem);
      }
    };
    channel.consume(queue, take).catch(failed);
  });
}

/** The answer to one envelope, out of the list that a message holds. */
function matching(message: ConsumeMessage, envelope: Envelope): Answer | undefined {
  if (message.properties.type !== "effect.outcome.v1") return undefined; // Streamed text.
  const answers: Answer[] = JSON.parse(message.content.toString());
  return answers.find(
    (answer) =>
      answer.effect_id === envelope.invocation.subject.effect_id &&
      answer.replay_key === envelope.invocation.replay.key &&
      answer.hash === hashOf(envelope),
  );
}

async function main(tool: string, args: Json): Promise<number> {
  const namespace = process.env.EFFECTMQ_NAMESPACE ?? "effects";
  const address = process.env.EFFECTMQ_BROKER ?? "amqp://guest:guest@localhost/";
  const place = { session: "example", turn: "turn-1", number: 2 };
  const envelope = toolCall(place, "call-2", tool, args);
  const connection = await amqp.connect(address);
  let refused: Error | undefined;
  try {
    const channel = await connection.createConfirmChannel();
    // What the broker refused comes as an event: a promise that waits only hears "channel closed".
    channel.on("error", (problem: Error) => {
      refused = problem;
    });
    const queue = await replyQueue(channel, namespace, "producer-amqplib");
    await submit(channel, namespace, envelope, queue);
    const { result } = await waitFor(channel, queue, envelope);
    console.log(JSON.stringify(result));
    return "Ok" in result ? 0 : 1;
  } catch (problem) {
    throw refused ?? problem;
  } finally {
    await connection.close();
  }
}

const [tool, args] = process.argv.slice(2);
if (tool === undefined || args === undefined) {
  console.error("usage: producer_amqplib.ts TOOL ARGUMENTS-AS-JSON");
  process.exitCode = 2;
} else {
  try {
    process.exitCode = await main(tool, JSON.parse(args));
  } catch (problem) {
    console.error(problem instanceof Error ? problem.message : problem);
    process.exitCode = 1;
  }
}
