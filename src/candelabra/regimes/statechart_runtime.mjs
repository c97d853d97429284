// Guards and actions of a regime chart that candelabra exported, for XState v5:
//
//   import { assign, createActor, emit, setup } from 'xstate';
//   const actor = createActor(setup(implementations({ assign, emit })).createMachine(chart)).start();
//   actor.on('CHANGE', ({ timeframe, before, after }) => ...);
//   actor.send({ type: 'BAR', time_ms, probs: { '1h': [0.2, 0.7, 0.1] } });  // the timeframes whose bar closed; null: unknown
export const version = '1'; // of the chart's form: its `version` must be this one

const leader = (probs) => {
  if (!probs?.every(Number.isFinite)) return { best: -1, p: NaN };
  let best = 0;
  probs.forEach((p, label) => { if (p > probs[best]) best = label; });
  return { best, p: probs[best] };
};
const heard = (event, timeframe) => (timeframe in event.probs ? leader(event.probs[timeframe]) : { best: -1, p: NaN });
const counted = ({ candidate, count }, best) => (candidate === best ? count : 0) + 1;

export const implementations = ({ assign, emit }) => ({
  guards: {
    closes: ({ event }, { timeframe }) => timeframe in event.probs,
    begins: ({ event }, { timeframe, after }) => heard(event, timeframe).best === after,
    switches: ({ context, event }, { timeframe, after, enter, confirm, min_hold }) => {
      const { best, p } = heard(event, timeframe), now = context[timeframe];
      return best === after && p >= enter && counted(now, best) >= confirm && now.age + 1 >= min_hold;
    },
  },
  actions: {
    tick: assign(({ context, event }, { timeframe, state, enter }) => {
      const { best, p } = heard(event, timeframe), now = context[timeframe], age = now.age + 1;
      const clear = best === -1 || best === state || p < enter[best];
      return { [timeframe]: clear ? { age, candidate: -1, count: 0 } : { age, candidate: best, count: counted(now, best) } };
    }),
    announce: emit(({ context, event }, { timeframe, before, after }) => ({
      type: 'CHANGE', timeframe, time_ms: event.time_ms, before, after,
      age_bars: context[timeframe].age + 1, probability: heard(event, timeframe).p,
    })),
    record: assign((_, { timeframe }) => ({ [timeframe]: { age: 0, candidate: -1, count: 0 } })),
  },
});
