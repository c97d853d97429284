// Runs an exported chart in XState over a stream of bars: node follow_chart.mjs chart.json bars.json runtime.mjs > told.json
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { assign, createActor, emit, setup } from 'xstate';

const [chart, stream] = process.argv.slice(2, 4).map((path) => JSON.parse(readFileSync(path, 'utf8')));
const { implementations, version } = await import(pathToFileURL(process.argv[4]).href);
if (chart.version !== version) throw new Error(`chart ${chart.version}, runtime ${version}`);
const machine = setup(implementations({ assign, emit })).createMachine(chart);
const snapshot = stream.position ? machine.resolveState(stream.position) : undefined;
const actor = createActor(machine, { snapshot }).start();
const changes = [], states = [], contexts = [];
actor.on('CHANGE', ({ type, ...change }) => changes.push(change));
const start = process.cpuUsage();
for (const bar of stream.bars) {
  actor.send({ type: 'BAR', ...bar });
  const { value, context } = actor.getSnapshot();
  states.push(value);
  contexts.push(context);
}
const { user, system } = process.cpuUsage(start);
process.stdout.write(JSON.stringify({ states, contexts, changes, micros: (user + system) / stream.bars.length }));
