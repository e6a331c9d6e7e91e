// What the types allow and refuse; never run. `types.sh` checks it.

import {
  Tidegate, TidegateError, checkCommitment, openResult,
  type Question, type TidegateEventMap, type TidegateOptions, type Verdict,
} from '../../src/web/tidegate.js';

const options: TidegateOptions = {
  url: ['wss://one.example', 'wss://two.example'],
  token: async (reason) => (reason === 'refused' ? 'fresh' : 'first'),
  room: '7',
  authenticateBy: 'frame',
};
const client = new Tidegate(options);
new Tidegate({ dispatch: 'https://dispatch.example/v1/gateways', token: 'first' });

client.addEventListener('question', async ({ detail }) => {
  const question: Question = detail;
  await client.showTime(question, () => performance.now());
  const stampedAt: bigint | undefined = detail.stamp?.version;
  const received = await client.answer(question, question.options.length - 1);
  if (received.result) console.log(received.result.nonce.length, stampedAt);
});
client.addEventListener('verdict', ({ detail }) => {
  const verdict: Verdict = detail;
  console.log(verdict.inPlay, verdict.option ?? 'silent', detail.isChecked);
});
client.addEventListener('reveal', async ({ detail }) => {
  console.log(await checkCommitment(new Uint8Array(32), detail));
});
client.addEventListener('result', async ({ detail }) => {
  await openResult(detail, new Uint8Array(32), client.userId ?? 0n);
});
client.addEventListener('rain', async ({ detail }) => {
  const grabbed = detail.phase === 'falling' ? await client.grab(detail) : undefined;
  const cents: number = grabbed?.cents ?? 0;
  console.log(cents, detail.endsAtMs);
});
client.addEventListener('error', ({ detail }) => {
  if (detail instanceof TidegateError) console.log(detail.reason, detail.retryAfterMs);
});
const names: (keyof TidegateEventMap)[] = ['disconnected', 'gap', 'message'];
console.log(names, client.state === 'open', client.now() + client.offsetMs, client.rttMs);

async function all(): Promise<void> {
  const { userId } = await client.connect();
  const { resumed } = await client.join(7n);
  const { version } = await client.publish('text');
  await client.at(client.now() + 1_000);
  await client.leave();
  client.close();
  console.log(userId + version, resumed);
}
void all();

// @ts-expect-error a client has gateways and a token
new Tidegate({ url: 'wss://one.example' });
// @ts-expect-error there is no such way
new Tidegate({ url: 'wss://one.example', token: 'a', authenticateBy: 'cookie' });
// @ts-expect-error ids are no objects
void client.join({});
// @ts-expect-error an option is a number
void client.answer({ showId: 1, question: 0 }, 'a');
